"""The carrier 摆渡 (floor 4): the same sealed batches as files, where no socket may be (软交换).

Each side writes only its own outbox and reads only the other's. Packages are proved by
the same verification as on the line; a carrier that loses or repeats them does no harm.
"""

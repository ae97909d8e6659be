"""The backup site 灾备 and backups in a directory: what they hold of a node, and how it is built again (floor 6).

Follows by the line's own calls and judges nothing of what the protected zones recorded.
"""

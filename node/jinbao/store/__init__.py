"""The zone's one database engine: single writer, transactions, stages and columnar read-out (floor 3).

Nothing else opens a zone database. Rooms bring their tables and migrations; the store
knows none of them.
"""

"""The decision zone 决策区 (floor 4): indicators over published packages. Opens no socket to anywhere.

Segments are read where they lie by DuckDB, which is an engine here and never a place
where data lives.
"""

"""The journal 流水: sealed batches and local acts, segments by content, marks and receipts (floor 4).

Append-only. Everything a zone durably knows is here first; the tables of all rooms are
projections of it. Does not know what a batch means.
"""

"""The line 主线: gRPC over mutual TLS between two neighbours (floor 4). The only asyncio room.

Serves what the journal lets a caller see and follows a neighbour's streams. Knows nothing
of what batches mean; checks on every call who speaks.
"""

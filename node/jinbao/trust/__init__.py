"""Proofs: seals, identities, chains and digests (floor 2). Pure: no files, sockets, clock or randomness."""

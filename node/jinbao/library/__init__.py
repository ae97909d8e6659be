"""Libraries 交换库: the current standard records of every origin, with their provenance (floor 4).

Rows are written only by applying whole submissions; the digest of what is stored is
computed from the stored rows. History lies in the journal's segments, not here.
"""

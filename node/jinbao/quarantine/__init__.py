"""Quarantine 隔离: rows that did not pass the gate, why, and when they were released (floor 4).

Every row stays with its rule, reason and origin key until the source mends it; the release
is recorded. Never leaves the zone.
"""

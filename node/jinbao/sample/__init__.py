"""Sample cities (floor 4): business databases of people who do not exist, with known defects.

Imports neither `quality` nor `registry` and reads no rule file: what it plants is the
test of the gate, so it must not learn from it.
"""

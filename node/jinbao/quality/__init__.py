"""The quality gate 质量关 (floor 2): pure judgement of columns by a standard's rules. Reads and writes nothing."""

"""Audit 审计: who asked for what, about whom, why, and how it ended (floor 4).

The trail is acts of the journal, read into a table that is its own hash chain and that the
database itself refuses to change. Decides nothing: who may do what is the appliance's question.
"""

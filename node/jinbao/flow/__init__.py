"""The record's way: outbound, inbound, onward (floor 5).

Read `outbound`, `inbound` and `onward` in this order. Flow decides and records; it states
what it needs of the rooms as Protocols in `ports` and speaks model types only. Every act
is a `step` that can be killed at any instruction and run again.
"""

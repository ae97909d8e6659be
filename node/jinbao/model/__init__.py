"""The words of the house: values every other room speaks (floor 1).

Standard library only, no I/O, no clock, no randomness. A value here is frozen;
what it promises is written at its class.
"""

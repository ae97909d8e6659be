"""The appliance: settings, the assembly of every room once, observers, the demo network (floor 7)."""

"""The command line (floor 9): one module per noun. Speaks to running zones, or opens a stopped one itself."""

"""The contract between nodes, generated from `proto/` (floor 1). Nothing here is written by hand but this line."""

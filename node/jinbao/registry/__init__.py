"""Standards and mappings as the files of `tiers/` say them (floor 4). Loads and checks; judges nothing."""

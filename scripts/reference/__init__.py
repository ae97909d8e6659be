"""The parts of `docs/reference/` that follow from code, a module for each kind of page.

A module makes blocks: functions from a language to Markdown, by the name of their place in a page. `pages` has them all.
Imports inside are relative: `scripts/make_reference.py` knows this package as `reference`, tests as `scripts.reference`.
"""

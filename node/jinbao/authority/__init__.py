"""Authorities and key files (floor 4). In this release: a demo authority; the PKI of the plan comes after it."""

"""The backup site 灾备: what it holds of the nodes it protects, and how one of them is built again (floor 6).

Follows by the line's own calls and judges nothing of what the protected zones recorded.
"""

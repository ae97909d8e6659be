"""Support 支持: what somebody who helps from afar needs to see of a node, and nothing of anybody's data."""

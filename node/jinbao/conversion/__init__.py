"""Conversion 转换 (floor 2): business rows become standard records by a mapping 对照表. Pure."""

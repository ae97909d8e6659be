"""Business databases 生产库: read as columns, under one snapshot, never written (floor 4).

Every column leaves as text, exactly as the database words it; meaning is conversion's.
"""

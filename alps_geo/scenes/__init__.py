"""A scene to read: its pixels, its place on the ground, and where it has data."""

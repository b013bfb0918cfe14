"""Masks of tiles become segments of the scene, and polygons."""

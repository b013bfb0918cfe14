"""Raster files as they come: their bands, place, parts and holes."""

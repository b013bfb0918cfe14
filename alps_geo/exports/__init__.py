"""Finished runs for other programs: vector files of GIS, and data sets for training."""

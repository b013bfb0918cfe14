"""Rows of numbers in, classes out; knows no raster."""

from .model import ClassModel

__all__ = ["ClassModel"]

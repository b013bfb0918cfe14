"""Rows of numbers in, classes out; knows no raster."""

from .example_model import ExampleModel
from .model import ClassModel

__all__ = ["ClassModel", "ExampleModel"]

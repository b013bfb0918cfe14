"""The mask model that is always there: no weights, no network."""

from .model import BuiltinModel

__all__ = ["BuiltinModel"]

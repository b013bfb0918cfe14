"""Segment Anything: masks and embeddings of tiles from Meta's checkpoints."""

from .generator import MaskGenerator
from .model import SamModel

__all__ = ["MaskGenerator", "SamModel"]

"""A tile's pixels in, masks and features out: mask models; the home of torch."""

from .registry import check_model, load_model, model_names

__all__ = ["check_model", "load_model", "model_names"]

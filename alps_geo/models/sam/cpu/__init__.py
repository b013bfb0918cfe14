"""Parts of SAM that are compiled for a CPU; a run on a GPU never loads them.

Others import from here only, and only where SAM runs on a CPU.
"""

from .attention import HeadAttention, WindowAttention
from .image_tokens import CpuImages
from .upscaling import CpuUpscaling

__all__ = ["CpuImages", "CpuUpscaling", "HeadAttention", "WindowAttention"]

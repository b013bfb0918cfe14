"""Tiles through a mask model in a stream: read ahead in a thread, in batches where it helps.

On a GPU the encoder is faster with several tiles at once, and reading the next ones costs no time
while it works; neither does waiting for a scene that comes over the network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar, runtime_checkable

from numpy import bool_, uint8
from numpy.typing import NDArray

from .masks import Embedding, MaskModel, Masks

Item = TypeVar("Item")
TilePixels = tuple[NDArray[uint8], NDArray[bool_]]


@runtime_checkable
class BatchModel(MaskModel, Protocol):
    """A mask model that is faster with several tiles at once."""

    @property
    def batch_size(self) -> int:
        """How many tiles it wants at once."""

    def segment_all(self, tiles: Sequence[TilePixels]) -> Iterator[tuple[Masks, Embedding]]:
        """Find the masks of several tiles; gives what `segment` gives, in their order."""


def batch_size(model: MaskModel) -> int:
    """Return how many tiles a model wants at once."""
    return model.batch_size if isinstance(model, BatchModel) else 1


def segment_all(model: MaskModel, tiles: Sequence[TilePixels]) -> Iterator[tuple[Masks, Embedding]]:
    """Find the masks of several tiles, at once where the model can.

    Parameters
    ----------
    model : MaskModel
    tiles : sequence of (pixels, valid)
        As for `MaskModel.segment`.

    Yields
    ------
    Masks, Embedding
        In the order of the tiles, each when it is asked for.
    """
    if isinstance(model, BatchModel) and len(tiles) > 1:
        yield from model.segment_all(tiles)
    else:
        yield from (model.segment(pixels, valid) for pixels, valid in tiles)


def read_ahead(items: Iterable[Item], batch: int = 1) -> Generator[list[Item], None, None]:
    """Group items that a thread makes meanwhile, at most two groups ahead.

    Parameters
    ----------
    items : iterable
        Made one after another; an error is raised where its item would be used.
    batch : int
        Items of a group; the last one may be shorter.

    Yields
    ------
    list
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1) as thread:

        def following() -> list[Item]:
            """Make the next group."""
            return list(islice(iterator, batch))

        waiting = deque(thread.submit(following) for _ in range(2))
        try:
            while group := waiting.popleft().result():
                waiting.append(thread.submit(following))
                yield group
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

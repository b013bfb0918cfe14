"""Tiles through SAM in a stream: read ahead in a thread, encoded in batches.

On a GPU the encoder is faster with several tiles at once, and reading the next ones costs no time
while it works. The queue between both is bounded, so that memory is too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from numpy import bool_, uint8
from numpy.typing import NDArray

from ..masks import Embedding, Masks
from .sam import SamModel

Item = TypeVar("Item")
TilePixels = tuple[NDArray[uint8], NDArray[bool_]]


def segment_tiles(
    model: SamModel, tiles: Iterable[TilePixels], *, batch: int = 1
) -> Iterator[tuple[Masks, Embedding]]:
    """Find the masks of tiles, one after another.

    Parameters
    ----------
    model : SamModel
    tiles : iterable of (pixels, valid)
        As for `SamModel.segment`; read in a thread, at most two batches ahead.
    batch : int
        Tiles that are encoded at once, less where memory does not allow it.

    Yields
    ------
    Masks, Embedding
        In the order of the tiles.
    """
    group: list[TilePixels] = []
    for tile in _read_ahead(tiles, 2 * batch):
        group.append(tile)
        if len(group) == batch:
            yield from model.segment_all(group)
            group = []
    if group:
        yield from model.segment_all(group)


def _read_ahead(items: Iterable[Item], length: int) -> Iterator[Item]:
    """Iterate over items that a thread produces meanwhile, a bounded number ahead."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, iterator, None) for _ in range(length))
        try:
            while (item := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, iterator, None))
                yield item
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

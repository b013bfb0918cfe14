"""Tiles through SAM in a stream: read ahead in a thread, encoded in batches.

On a GPU the encoder is faster with several tiles at once, and reading the next ones costs no time
while it works. The queue between both is bounded, so that memory is too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Queue
from threading import Event, Thread
from typing import Generic, TypeVar

from numpy import bool_, uint8
from numpy.typing import NDArray

from ..masks import Embedding, Masks
from .sam import SamModel

Item = TypeVar("Item")
TilePixels = tuple[NDArray[uint8], NDArray[bool_]]
#: Seconds between looks at whether the reader should stop.
_LOOK = 0.1


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
    for tile in _Ahead(tiles, 2 * batch):
        group.append(tile)
        if len(group) == batch:
            yield from model.segment_all(group)
            group = []
    if group:
        yield from model.segment_all(group)


class _Ahead(Generic[Item]):
    """Iterates over items that a thread produces meanwhile, a bounded number ahead."""

    def __init__(self, items: Iterable[Item], length: int) -> None:
        self._items = items
        self._queue: Queue[tuple[Item | None, BaseException | None]] = Queue(length)
        self._stopped = Event()

    def __iter__(self) -> Iterator[Item]:
        thread = Thread(target=self._produce, daemon=True)
        thread.start()
        try:
            while True:
                item, error = self._queue.get()
                if error is not None:
                    raise error
                if item is None:
                    return
                yield item
        finally:
            self._stopped.set()
            while thread.is_alive():
                # Make room, so that a reader that waits for some can see that it should stop.
                while not self._queue.empty():
                    self._queue.get_nowait()
                thread.join(_LOOK)

    def _produce(self) -> None:
        try:
            for item in self._items:
                self._queue.put((item, None))
                if self._stopped.is_set():
                    return
            self._queue.put((None, None))
        except BaseException as error:  # noqa: BLE001 - it is not ours to judge here
            # Raised again where the items are used.
            self._queue.put((None, error))

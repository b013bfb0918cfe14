"""Lanes: threads side by side, each with memory of its own that it uses again and again.

What SAM does for a few prompts, or in a head of its encoder, is a long row of short steps in a
core's cache. Two cores that share every step wait for each other; with a lane per core, and prompts
or a head in each, they do not. A GPU has one lane.
"""

from __future__ import annotations

import math
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Results of each lane that may wait to be taken; bounds memory.
_WAITING = 2


def runs_in_lanes(device: torch.device) -> bool:
    """Tell whether a device's work goes to the lanes of its cores, in what is compiled for them."""
    return device.type == "cpu"


class Workspace:
    """Tensors that are used again, by name: whoever takes one overwrites what it held.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return a tensor of some shape, with whatever was left in it; a name has one type."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = torch.empty(size, dtype=dtype, device=self._device)
        return held[:size].view(shape)


class Lanes:
    """Runs work in lanes.

    Parameters
    ----------
    device : torch.device
        A CPU gets a lane per thread that torch would use, anything else one.
    """

    def __init__(self, device: torch.device) -> None:
        self._count = torch.get_num_threads() if runs_in_lanes(device) else 1
        self._free: queue.SimpleQueue[Workspace] = queue.SimpleQueue()
        for _ in range(self._count):
            self._free.put(Workspace(device))
        self._threads: ThreadPoolExecutor | None = None
        if self._count > 1:
            self._threads = ThreadPoolExecutor(self._count, "lane", torch.set_num_threads, (1,))

    def map(
        self, work: Callable[[Item, Workspace], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Do work on every item; yield the results in the order of the items."""

        @torch.inference_mode()
        def run(item: Item) -> Result:
            """Do work in whichever workspace is free."""
            space = self._free.get()
            try:
                return work(item, space)
            finally:
                self._free.put(space)

        if self._threads is None:
            yield from map(run, items)
            return
        threads = torch.get_num_threads()
        try:
            yield from map_ahead(self._threads, run, items, _WAITING * self._count)
        finally:
            # A thread that limits itself also changes what threads to come begin with.
            torch.set_num_threads(threads)


def map_ahead(
    threads: Executor, function: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Iterator[Result]:
    """Map a function over items in threads, with a bounded number of results waiting.

    Parameters
    ----------
    threads : Executor
    function : callable
    items : iterable
        Made here, one after another.
    most : int
        Items that are handed out before the first result is taken.

    Yields
    ------
    Result
        In the order of the items.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(threads.submit(function, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()

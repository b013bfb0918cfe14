"""Lanes: threads side by side, each with memory of its own that it uses again and again.

On a CPU a prompt's image tokens fill the cache, and its arithmetic is a long row of short steps.
Two cores that share every step wait for each other; with a lane per core, and a prompt in each,
they do not. A GPU has one lane.
"""

from __future__ import annotations

import math
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Results of each lane that may wait to be taken; bounds memory.
_WAITING = 2


class Workspace:
    """Tensors that are used again, by name: whoever takes one overwrites what it held.

    Parameters
    ----------
    device : torch.device
    dtype : torch.dtype
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a tensor of some shape, with whatever was left in it."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = torch.empty(size, dtype=self._dtype, device=self._device)
        return held[:size].view(shape)


class Lanes:
    """Runs work in lanes.

    Parameters
    ----------
    device : torch.device
        A CPU gets a lane per thread that torch would use, anything else one.
    dtype : torch.dtype
        Of the tensors in the workspaces.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        count = torch.get_num_threads() if device.type == "cpu" else 1
        self._spaces = [Workspace(device, dtype) for _ in range(count)]
        self._free: queue.SimpleQueue[Workspace] = queue.SimpleQueue()
        for space in self._spaces:
            self._free.put(space)
        self._threads: ThreadPoolExecutor | None = None
        if count > 1:
            self._threads = ThreadPoolExecutor(count, "lane", torch.set_num_threads, (1,))

    def map(
        self, work: Callable[[Item, Workspace], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Do work on every item; yield the results in the order of the items."""
        if self._threads is None:
            for item in items:
                yield work(item, self._spaces[0])
            return
        waiting: list[Future[Result]] = []
        threads = torch.get_num_threads()
        try:
            for item in items:
                waiting.append(self._threads.submit(self._run, work, item))
                if len(waiting) > _WAITING * len(self._spaces):
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
            # A thread that limits itself also changes what threads to come begin with.
            torch.set_num_threads(threads)

    @torch.inference_mode()
    def _run(self, work: Callable[[Item, Workspace], Result], item: Item) -> Result:
        space = self._free.get()
        try:
            return work(item, space)
        finally:
            self._free.put(space)

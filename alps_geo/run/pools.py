"""Where jobs run: processes of this machine or a Dask cluster, both as an Executor.

A worker that is lost is replaced, and its jobs are done again: they write their results under a
temporary name, so that half of one does no harm.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import TYPE_CHECKING, Any, TypeVar

from .. import __version__
from ..errors import SettingsError, WorkerError
from ..settings import RunSettings

if TYPE_CHECKING:
    from distributed import Client

#: Workers may be lost this often, without a job finished between, before the run gives up.
MAX_LOSSES = 3
#: Seconds between two looks at whether somebody wants the run to stop.
TICK_S = 0.5
# Windows waits for 63 objects at a time, two of which the pool keeps for itself.
_MOST_ON_WINDOWS = 61
#: Seconds a scheduler has to answer.
CONNECT_S = 10
#: Exit code of a worker whose parent's script has no guard; nothing else uses it.
UNGUARDED_EXIT = 97

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Pool:
    """Workers that are there.

    Attributes
    ----------
    executor : Executor
    room : callable
        Returns how many jobs it should have at a time: two per worker, so that none waits.
    """

    executor: Executor
    room: Callable[[], int]


OpenPool = Callable[[], AbstractContextManager[Pool]]


def run_in_pool(
    open_pool: OpenPool,
    function: Callable[[J], R],
    jobs: Iterable[J],
    done: Callable[[R], None],
    tick: Callable[[], None],
) -> None:
    """Have workers do jobs, in any order; new workers go on where lost ones stopped.

    Parameters
    ----------
    open_pool : callable
        Returns a context manager that gives a `Pool`; see `choose_pool`.
    function : callable
        Does one job; must be importable, and doing a job twice must do no harm.
    jobs : iterable
    done : callable
        Is called with each result.
    tick : callable
        Is called every now and then; may raise `Cancelled`, as `done` may.

    Raises
    ------
    WorkerError
        If workers cannot be had, or are lost time and again.
    """
    waiting = deque(jobs)
    losses = 0
    while waiting:
        left = len(waiting)
        try:
            with open_pool() as pool:
                _work(pool, function, waiting, done, tick)
        except BrokenExecutor as error:
            losses = losses + 1 if len(waiting) == left else 0
            if losses == MAX_LOSSES:
                raise WorkerError(
                    f"workers were killed {losses} times before they finished a tile, likely for"
                    " want of memory; use fewer `workers` or a smaller `tile_size`"
                ) from error


def _work(
    pool: Pool,
    function: Callable[[J], R],
    waiting: deque[J],
    done: Callable[[R], None],
    tick: Callable[[], None],
) -> None:
    """Hand out jobs, few at once; if the pool breaks, those not done are waiting again."""
    running: dict[Future[R], J] = {}
    try:
        while waiting or running:
            while waiting and len(running) < pool.room():
                with _interrupts_held():
                    future = pool.executor.submit(function, waiting[0])
                running[future] = waiting.popleft()
            finished, _ = wait(running, timeout=TICK_S, return_when=FIRST_COMPLETED)
            tick()
            # Results first: what broke the pool may have come together with some.
            for future in sorted(finished, key=_is_lost):
                done(future.result())
                del running[future]
    except BrokenExecutor:
        waiting.extend(running.values())
        raise
    finally:
        for future in running:
            future.cancel()


def _is_lost(future: Future[R]) -> bool:
    return future.cancelled() or future.exception() is not None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C from the processes that are started inside: this one tells them when to stop."""
    # A terminal sends the signal to all; what is blocked here stays blocked in a new process.
    if not hasattr(signal, "pthread_sigmask"):
        yield  # Windows
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def choose_pool(settings: RunSettings, tick: Callable[[], None]) -> OpenPool:
    """Return what opens the workers that the settings name.

    Parameters
    ----------
    settings : RunSettings
    tick : callable
        Is called while nothing but waiting for a cluster's first worker happens.

    Raises
    ------
    SettingsError
        If a scheduler is named and Dask is not installed.
    """
    if settings.scheduler is None:
        return lambda: _open_processes(settings.workers)
    try:
        import distributed  # noqa: F401 - an extra: many do without
    except ImportError as error:
        raise SettingsError(
            "`scheduler` needs Dask, which is not installed: pip install 'alps-geo[dask]'"
        ) from error
    address = settings.scheduler
    return lambda: _open_cluster(address, tick)


def most_processes(workers: int) -> int:
    """Return how many processes there can be, where so many are asked for."""
    return min(workers, _MOST_ON_WINDOWS) if sys.platform == "win32" else workers


@contextmanager
def _open_processes(workers: int) -> Iterator[Pool]:
    # Spawned, because forked processes inherit the threads' locks of BLAS, GDAL and torch.
    context = _Context()
    workers = most_processes(workers)
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        try:
            yield Pool(executor, lambda: 2 * workers)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
    except BrokenExecutor as error:
        _explain_ends([process.exitcode for process in context.started], error)
        raise


class _Context(SpawnContext):
    """Starts processes as `spawn` does, and remembers them, to ask how they ended."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]
        """Make a process."""
        process = SpawnProcess(*args, **kwargs)
        self.started.append(process)
        return process


def _explain_ends(codes: Sequence[int | None], error: BrokenExecutor) -> None:
    """Raise what is true of workers that ended by themselves; killed ones may try again."""
    if UNGUARDED_EXIT in codes:
        raise WorkerError(
            "workers could not start: they read the script that calls `label()` once more, and came"
            ' to the same call; put it under if __name__ == "__main__":, or use `workers=1`'
        ) from error
    # A signal is a negative number; Windows has none, but no small numbers for a crash either.
    if 1 in codes:
        raise WorkerError(
            "workers could not start, or ended with an error, which is shown above; a script that"
            ' calls `label()` must be a file, and do so under if __name__ == "__main__":; or use'
            " `workers=1`"
        ) from error


def end_if_unguarded() -> None:
    """End this process if it is a worker that comes to the call it was started for.

    A worker first reads the script of its parent, and runs what stands there without a guard.
    """
    # As `multiprocessing.spawn` itself asks, whose error would be a traceback in every worker.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(UNGUARDED_EXIT)


def _end_with_parent() -> None:
    """End this worker when its parent is killed: its queue alone would keep it waiting forever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def _open_cluster(address: str, tick: Callable[[], None]) -> Iterator[Pool]:
    from distributed.scheduler import KilledWorker

    with _connect(address) as client:
        while not client.ncores():
            tick()
            time.sleep(TICK_S)
        _check_versions(client, address)
        executor = client.get_executor(pure=False)
        try:
            yield Pool(executor, lambda: 2 * max(1, sum(client.ncores().values())))
        except KilledWorker as error:
            raise WorkerError(
                f"Dask gave up on a tile: {error}; likely for want of memory: use a smaller"
                " `tile_size`, or give workers more"
            ) from error
        except (CancelledError, OSError) as error:
            # Workers' own OSErrors come as OutputError or ReadError: this is the connection.
            raise WorkerError(
                f"the Dask scheduler at {address} is gone; finished tiles are kept: start one, and"
                " give the same command again"
            ) from error
        finally:
            executor.shutdown(wait=False)


@contextmanager
def _connect(address: str) -> Iterator[Client]:
    """Give a client of a scheduler that is there, or of one that is started here."""
    from distributed import Client, LocalCluster

    if address.startswith("local:"):
        count = int(address.removeprefix("local:"))
        with (
            _interrupts_held(),
            LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                memory_limit=None,
                # A free port, for this machine only; none at all is not to be had.
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=CONNECT_S, name="alps-geo")
    except (OSError, ValueError) as error:
        raise WorkerError(
            f"no Dask scheduler answers at {address}; start one with 'dask scheduler', and check"
            " the address"
        ) from error
    with client:
        yield client


def _check_versions(client: Client, address: str) -> None:
    """Refuse workers with another version of alps-geo: their masks may differ."""
    try:
        versions = client.run(_version)
    except ImportError as error:
        raise WorkerError(
            f"workers at {address} lack alps-geo or a part of it ({error}); install version"
            f" {__version__} where they run"
        ) from error
    for worker, version in versions.items():
        if version != __version__:
            raise WorkerError(
                f"worker {worker} has alps-geo {version}, but {__version__} runs here; install"
                " the same version"
            )


def _version() -> str:
    return __version__

"""Workers: lost ones are replaced, a cluster gives what one process gives, errors name the host."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
from geopandas.testing import assert_geodataframe_equal

from alps_geo import Run
from alps_geo.errors import Cancelled, ReadError, SceneError, SettingsError, WorkerError
from alps_geo.pipeline import label
from alps_geo.progress import NoProgress
from alps_geo.run.pools import MAX_LOSSES, Pool, choose_pool, run_in_pool
from alps_geo.settings import RunSettings

from ..conftest import SceneFactory, draw_landscape

SMALL = {"tile_size": 128, "overlap": 32, "model": "builtin", "n_classes": 4}


def nothing(*_: object) -> None:
    """Take note of nothing."""


def mark_and_die_once(folder: str) -> int:
    """Kill the first process that gets here."""
    try:
        (Path(folder) / "died").touch(exist_ok=False)
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(_: object) -> None:
    raise ReadError("row 7 is damaged")


def same_results(first: Run, second: Run) -> bool:
    """Tell whether pixels are equal, after making sure that the segments are."""
    assert_geodataframe_equal(first.segments(), second.segments())
    images = []
    for run in (first, second):
        with rasterio.open(run.label_paths[0]) as file:
            images.append(file.read(1))
    return bool((images[0] == images[1]).all())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """Label a landscape in one process."""
    folder = tmp_path_factory.mktemp("alone")
    pixels = np.moveaxis(draw_landscape(300, 400), 2, 0)
    with rasterio.open(
        folder / "land.tif", "w", driver="GTiff", count=3, height=300, width=400, dtype="uint8",
        crs="EPSG:32640", transform=rasterio.Affine(2, 0, 320000, 0, -2, 2780000),
    ) as file:  # fmt: skip
        file.write(pixels)
    return folder / "land.tif", label(folder / "land.tif", folder / "out", **SMALL)


def test_a_killed_worker_process_is_replaced_and_every_job_is_done(tmp_path: Path) -> None:
    finished: list[int] = []
    open_pool = choose_pool(RunSettings(workers=2), nothing)
    run_in_pool(open_pool, mark_and_die_once, [str(tmp_path)] * 6, finished.append, nothing)
    assert len(finished) == 6
    assert os.getpid() not in finished


@pytest.mark.slow
def test_workers_that_always_die_end_the_run_with_a_remedy() -> None:
    with pytest.raises(WorkerError, match=f"killed {MAX_LOSSES} times .* fewer `workers`"):
        run_in_pool(choose_pool(RunSettings(workers=2), nothing), die, [1], nothing, nothing)


@pytest.mark.slow
def test_an_error_of_a_job_ends_the_run() -> None:
    with pytest.raises(ReadError, match="row 7"):
        run_in_pool(choose_pool(RunSettings(workers=2), nothing), fail, [1, 2], nothing, nothing)


def test_a_run_is_cancelled_while_workers_are_busy() -> None:
    def cancel() -> None:
        raise Cancelled("enough")

    began = time.monotonic()
    with pytest.raises(Cancelled, match="enough"):
        run_in_pool(
            choose_pool(RunSettings(workers=1), nothing), time.sleep, [3] * 50, nothing, cancel
        )
    assert time.monotonic() - began < 20


def test_jobs_are_handed_out_a_few_at_a_time() -> None:
    given: list[int] = []

    @contextmanager
    def open_pool() -> Iterator[Pool]:
        with ThreadPoolExecutor(2) as executor:
            yield Pool(executor, lambda: 4)

    def taken() -> Iterator[int]:
        yield from range(20)

    run_in_pool(open_pool, given.append, taken(), nothing, nothing)
    assert sorted(given) == list(range(20))


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from alps_geo.run.pools import choose_pool, run_in_pool\n"
        "from alps_geo.settings import RunSettings\n"
        "if __name__ == '__main__':\n"
        "    pool = choose_pool(RunSettings(workers=2), lambda: None)\n"
        "    print('ready', flush=True)\n"
        "    run_in_pool(pool, time.sleep, [0.2] * 999, print, lambda: None)\n"
    )
    (tmp_path / "run.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, tmp_path / "run.py"], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline() for _ in range(2)] == ["ready\n", "None\n"]
        workers = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert (len(gone), alive) == (len(workers), [])


@pytest.mark.parametrize("address", ["local", "local:0", "host", "local:-1", ""])
def test_addresses_that_cannot_be_are_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="`scheduler` must be an address"):
        RunSettings(scheduler=address)


def test_workers_and_a_scheduler_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="exclude each other"):
        RunSettings(workers=2, scheduler="local:2")


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_line() -> None:
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(WorkerError, match=f"no Dask scheduler answers at {address}"):
        run_in_pool(
            choose_pool(RunSettings(scheduler=address), nothing), abs, [1], nothing, nothing
        )


class Cluster:
    """A Dask scheduler and two workers, as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        for _ in range(2):
            self.start_worker()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments]
        with (self.folder / f"{arguments[0]}{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self.processes.append(process)
        return process

    def start_worker(self) -> subprocess.Popen[bytes]:
        # Without a nanny, so that a killed worker stays dead and another must do its jobs.
        return self.start("worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard")

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start a cluster, and end it."""
    pytest.importorskip("distributed")
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield started
    finally:
        started.stop()


@pytest.mark.slow
def test_a_cluster_gives_the_same_pixels_and_segments_as_one_process(
    alone: tuple[Path, Run], cluster: Cluster, tmp_path: Path
) -> None:
    scene, outputs = alone
    other = label(scene, tmp_path / "out", **SMALL, scheduler=cluster.address)
    assert same_results(outputs, other)


@pytest.mark.slow
def test_workers_of_a_cluster_ignore_data_of_another_proj(
    alone: tuple[Path, Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    with monkeypatch.context() as foreign:
        for name in ("PROJ_DATA", "PROJ_LIB"):
            foreign.setenv(name, str(tmp_path))  # without any data
        foreign.setenv("GTIFF_FORCE_RGBA", "YES")
        cluster = Cluster(tmp_path)
    try:
        other = label(alone[0], tmp_path / "out", **SMALL, scheduler=cluster.address)
        assert same_results(alone[1], other)
    finally:
        cluster.stop()


def test_relative_paths_hold_for_workers_in_other_folders(
    alone: tuple[Path, Run], cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scene, outputs = alone
    monkeypatch.chdir(scene.parent)
    out = Path(os.path.relpath(tmp_path / "out"))
    assert same_results(outputs, label("land.tif", out, **SMALL, scheduler=cluster.address))


def test_a_worker_killed_in_mid_run_changes_nothing(
    alone: tuple[Path, Run], cluster: Cluster, tmp_path: Path
) -> None:
    class Killer(NoProgress):
        def step(self, done: int, total: int) -> None:
            if done == 3 and cluster.processes[1].poll() is None:
                cluster.processes[1].kill()
                cluster.start_worker()

    scene, outputs = alone
    other = label(scene, tmp_path / "out", **SMALL, scheduler=cluster.address, progress=Killer())
    assert cluster.processes[1].poll() is not None
    assert same_results(outputs, other)


def test_a_worker_that_cannot_read_the_scene_says_so_by_host(
    make_scene: SceneFactory, cluster: Cluster, tmp_path: Path
) -> None:
    scene = make_scene(draw_landscape(150, 200))

    class Unplugger(NoProgress):
        def stage(self, name: str) -> None:
            if name == "tiles":
                scene.unlink()

    with pytest.raises(SceneError, match=f"not there .* on host {socket.gethostname()}"):
        label(scene, tmp_path / "out", **SMALL, scheduler=cluster.address, progress=Unplugger())


@pytest.mark.slow
def test_a_scheduler_that_vanishes_is_one_line(alone: tuple[Path, Run], tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    cluster = Cluster(tmp_path)

    class Killer(NoProgress):
        def step(self, done: int, total: int) -> None:
            if done == 3:
                cluster.processes[0].kill()

    try:
        with pytest.raises(WorkerError, match=f"scheduler at {cluster.address} is gone"):
            label(alone[0], tmp_path / "out", **SMALL, scheduler=cluster.address, progress=Killer())
    finally:
        cluster.stop()


@pytest.mark.slow
def test_a_local_cluster_gives_the_same_as_one_process(
    alone: tuple[Path, Run], tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    scene, outputs = alone
    assert same_results(outputs, label(scene, tmp_path / "out", **SMALL, scheduler="local:2"))
    assert threading.active_count() < 50


def is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # it ended in the meantime
        return False


@pytest.mark.slow
def test_a_killed_worker_process_changes_nothing(alone: tuple[Path, Run], tmp_path: Path) -> None:
    killed: list[int] = []

    class Killer(NoProgress):
        def step(self, done: int, total: int) -> None:
            if done == 3 and not killed:
                workers = [child for child in psutil.Process().children(True) if is_worker(child)]
                for worker in workers[:1]:
                    worker.kill()
                    killed.append(worker.pid)

    scene, outputs = alone
    other = label(scene, tmp_path / "out", **SMALL, workers=2, progress=Killer())
    assert killed
    assert same_results(outputs, other)


UNGUARDED = """
import sys
import alps_geo
try:
    alps_geo.label(sys.argv[1], "out", workers=2, model="builtin", tile_size=128, overlap=32)
except alps_geo.WorkerError as error:
    print("told:", error)
"""


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        ("file", 'put it under if __name__ == "__main__":, or use `workers=1`'),
        ("stdin", 'must be a file, and do so under if __name__ == "__main__":'),
    ],
)
def test_scripts_without_a_guard_are_told_so(
    tmp_path: Path, make_scene: SceneFactory, by: str, reason: str
) -> None:
    scene = make_scene(draw_landscape(200, 200))
    (tmp_path / "script.py").write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py" if by == "file" else "-", scene],
        input=UNGUARDED,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert "told: workers could not start" in done.stdout
    assert reason in done.stdout
    assert "memory" not in done.stdout
    if by == "file":
        assert "Traceback" not in done.stderr

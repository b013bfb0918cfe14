"""The plugin's own set-up of the engine: made from wheels, used, refused, stopped, removed."""

import http.server
import re
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

import alps_geo
from qgis_plugin import runner
from qgis_plugin.environment import clean_environment
from qgis_plugin.setup import environments, places, pythons
from qgis_plugin.setup.check import SetupCancelled, SetupError, check
from qgis_plugin.setup.environments import Plan
from qgis_plugin.setup.places import interpreter_of
from qgis_plugin.setup.processes import run_lines
from qgis_plugin.setup.proxy import Proxy

from .recorder import Recorder
from .wheels import make_wheels

VERSION = alps_geo.__version__


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    return make_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def plan(tmp_path, wheels):
    return Plan(tmp_path / "engine", sys.executable, VERSION, wheels=wheels)


@pytest.mark.slow
def test_an_environment_is_made_labels_a_scene_and_is_removed(plan, wheels, example, tmp_path):
    poor, log = tmp_path / "poor", []
    poor.mkdir()
    shutil.copy(next(wheels.glob("alps_geo-*.whl")), poor)
    with pytest.raises(SetupError, match=r"folder of wheels has no \S+ for this Python"):
        environments.create(Plan(plan.folder, sys.executable, VERSION, wheels=poor), log.append)
    assert any("No matching distribution" in line for line in log)
    assert not plan.folder.exists()

    told = []
    report = environments.create(plan, log.append, tell_step=lambda *step: told.append(step))
    assert told == [
        (0, 3, "Making the environment"),
        (1, 3, "Installing alps-geo"),
        (2, 3, "Checking the engine"),
    ]
    assert environments.is_complete(plan.folder)
    interpreter = interpreter_of(plan.folder)
    assert any(line.startswith("Successfully installed") for line in log)
    assert report == check(str(interpreter))
    assert report.version == VERSION
    assert report.problem(VERSION) == ""
    assert f"PyTorch {report.torch}" in report.text()
    said = []
    code = "import alps_geo, alps_geo.cli; print(alps_geo.__file__, alps_geo.cli.__file__)"
    assert run_lines([str(interpreter), "-I", "-c", code], clean_environment(), said.append) == 0
    assert all(path.startswith(str(plan.folder)) for path in said[-1].split())

    command = [str(interpreter), "-I", "-u", "-m", "alps_geo.cli", "label", str(example)]
    options = ["--model", "builtin", "-k", "4", "--progress", "json"]
    out = tmp_path / "out"
    result = runner.run([*command, "-o", str(out), *options], Recorder(), minimum=VERSION)
    assert Path(result["labels"][0]).is_file()

    assert environments.size_gb(plan.folder) > 0
    assert environments.remove(plan.folder)
    assert not plan.folder.exists()
    assert (out / "labels.tif").is_file()


def test_a_folder_of_others_is_neither_filled_nor_removed(plan):
    plan.folder.mkdir()
    (plan.folder / "precious.txt").write_text("mine")
    with pytest.raises(SetupError, match="is there already: choose a new folder"):
        environments.create(plan, lambda line: None)
    assert not environments.remove(plan.folder)
    assert (plan.folder / "precious.txt").read_text() == "mine"


def test_a_folder_without_the_engine_is_refused_at_once(plan, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SetupError, match="holds no wheel of alps-geo"):
        environments.create(Plan(plan.folder, sys.executable, VERSION, wheels=empty), print)
    assert not plan.folder.exists()


def test_making_one_can_be_stopped_and_nothing_is_left(plan):
    log, times = [], []

    def is_cancelled():
        if log and not times:
            times.append(time.monotonic())
        return bool(log)

    with pytest.raises(SetupCancelled):
        environments.create(plan, log.append, is_cancelled)
    assert time.monotonic() - times[0] < 3
    assert not plan.folder.exists()


def test_a_removal_that_stops_half_way_can_be_done_again(plan, monkeypatch):
    library = plan.folder / "lib" / "python"
    library.mkdir(parents=True)
    (plan.folder / "lib64").symlink_to("lib")
    environments._write_note(plan.folder, VERSION, complete=True)

    def fail(path):
        raise PermissionError(13, "in use", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(environments.shutil, "rmtree", fail)
        with pytest.raises(SetupError, match=r"cannot be removed: .*in use.*try again"):
            environments.remove(plan.folder)
    assert environments.is_ours(plan.folder)
    assert not environments.is_complete(plan.folder)
    assert environments.remove(plan.folder)
    assert not plan.folder.exists()


def test_a_python_that_is_none_is_refused(plan, tmp_path):
    with pytest.raises(SetupError, match="is no Python that can be started"):
        environments.create(Plan(plan.folder, str(tmp_path / "none"), VERSION), print)


@pytest.mark.parametrize(
    ("version", "can", "message"),
    [
        ((3, 9, 5), True, r"3\.9 .* 3\.10 to 3\.13 are needed"),
        ((3, 14, 0), True, "3.10 to 3.13"),
        ((3, 11, 2), False, "cannot make environments"),
        ((3, 11, 2), True, "^$"),
    ],
)
def test_a_python_says_why_it_will_not_do(version, can, message):
    assert re.search(message, pythons.Python("/usr/bin/python3", version, can).problem)


def test_a_python_is_found():
    found = next(pythons.find_pythons())
    assert found.problem == ""
    assert Path(found.path).is_file()


def test_an_interpreter_without_the_engine_is_told():
    log = []
    with pytest.raises(SetupError, match=r"python3 has no alps-geo: choose the Python of an env"):
        check(str(Path(sys.base_prefix) / "bin" / "python3"), log=log.append)
    assert "No module named 'alps_geo'" in log[-1]


def test_environments_lie_outside_the_plugin_and_survive_its_update(monkeypatch, tmp_path):
    monkeypatch.delenv(places.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = places.new_folder(VERSION)
    assert tmp_path in folder.parents
    assert "QGIS" not in str(folder.relative_to(tmp_path))


def test_online_the_small_pytorch_comes_first(tmp_path):
    steps = list(Plan(tmp_path, "/usr/bin/python3", VERSION).steps())
    assert [title for title, _ in steps] == [
        "Making the environment",
        "Installing PyTorch",
        "Installing alps-geo",
    ]
    assert steps[1][1][-2:] == ["--index-url", "https://download.pytorch.org/whl/cpu"]
    cuda = list(Plan(tmp_path, "/usr/bin/python3", VERSION, device="cuda").steps())
    assert cuda[1][1][-2:] == ["torch", "torchvision"]


class _Proxy(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *arguments):
        pass


def test_pip_goes_through_the_proxy(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    _Proxy.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = Proxy("127.0.0.1", server.server_address[1])
    plan = Plan(tmp_path / "engine", sys.executable, VERSION, proxy=proxy)
    index = "http://packages.invalid/simple"
    command = [sys.executable, "-m", "pip", "--isolated", "download", "--retries", "0", "alps-geo"]
    command += ["--index-url", index, "--trusted-host", "packages.invalid"]
    code = run_lines(command, plan.environment(), lambda line: None)
    server.shutdown()
    server.server_close()
    assert code != 0
    assert _Proxy.asked[0].startswith(f"{index}/alps-geo")

"""Weights: fetched from a server on loopback, added from files, checked, removed."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from click.testing import CliRunner

from alps_geo._files import sha256_of
from alps_geo.cli.main import cli
from alps_geo.errors import Cancelled, ModelError
from alps_geo.models import weights
from alps_geo.models.downloads import MIRROR_VARIABLE, download
from alps_geo.settings import all_settings, option_name

from .sam_models import save_sam

MODELS = {
    "sam-vit-b": {},
    "sam-vit-l": {"width": 96},
    "sam-vit-h": {"depth": 3},
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Keep the user's own weights, proxies and mirrors out."""
    place = tmp_path / "weights"
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(place))
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return place


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files, parts of files, half of what it promised, or an error."""

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers.get("Range"))
        if server.status:
            self.send_error(server.status)
            return
        content = server.files[self.path.lstrip("/")]
        start = 0
        if self.headers.get("Range") and server.ranges:
            start = int(self.headers["Range"].split("=")[1].rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content)
        if server.breaks:
            server.breaks -= 1
            stop = start + (len(content) - start) // 2
        self.wfile.write(content[start:stop])

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server(tmp_path):
    """Serve a small seeded checkpoint for each of Meta's models."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.files, running.requests = {}, []
        running.status, running.breaks, running.ranges = 0, 0, True
        running.models = {}
        for name, sizes in MODELS.items():
            path = save_sam(tmp_path / f"{name}.served", **sizes)
            file = weights.known_model(name).file
            running.files[file] = path.read_bytes()
            running.models[name] = replace(
                weights.known_model(name),
                url=f"http://127.0.0.1:{running.server_port}/{file}",
                sha256=sha256_of(path),
                size=path.stat().st_size,
            )
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("name", MODELS)
def test_a_download_is_checked_and_lies_in_the_folder(server, folder, progress, name):
    model = server.models[name]
    path = download(model, progress)
    assert path == folder / model.file
    assert path.read_bytes() == server.files[model.file]
    assert progress.stages == [f"download {name}"]
    assert progress.steps
    assert [item.name for item in folder.iterdir()] == [model.file]


def test_what_is_installed_is_not_fetched_again(server, progress):
    download(server.models["sam-vit-b"], progress)
    download(server.models["sam-vit-b"], progress)
    assert len(server.requests) == 1
    assert "installed already" in progress.messages[-1]


def test_a_download_that_breaks_off_goes_on(server, progress):
    model = server.models["sam-vit-b"]
    server.breaks = 1
    path = download(model, progress)
    assert sha256_of(path) == model.sha256
    assert server.requests[0] is None
    assert 0 < int(server.requests[1].removeprefix("bytes=").rstrip("-")) <= model.size // 2


def test_a_server_that_always_breaks_off_is_given_up_and_the_next_run_goes_on(server, progress):
    model = server.models["sam-vit-b"]
    server.breaks = 99
    with pytest.raises(ModelError, match=r"broke off after .* MiB: download it again to go on"):
        download(model, progress)
    server.breaks = 0
    before = len(server.requests)
    path = download(model, progress)
    assert server.requests[before].startswith("bytes=")
    assert sha256_of(path) == model.sha256


def test_a_server_without_ranges_starts_again(server, progress):
    server.ranges, server.breaks = False, 1
    path = download(server.models["sam-vit-b"], progress)
    assert sha256_of(path) == server.models["sam-vit-b"].sha256


def test_what_arrived_stays_when_the_user_stops(server, folder, progress):
    def stop(done, total):
        raise Cancelled("stopped")

    progress.step = stop
    with pytest.raises(Cancelled, match="stopped"):
        download(server.models["sam-vit-b"], progress)
    assert (folder / "sam_vit_b_01ec64.pth.part").stat().st_size > 0
    assert weights.installed() == []


def test_another_file_is_refused_and_leaves_nothing(server, folder, progress):
    model = server.models["sam-vit-b"]
    server.files[model.file] = b"<html>please log in</html>"
    with pytest.raises(ModelError, match=r"is not sam_vit_b_01ec64\.pth: its checksum is wrong"):
        download(model, progress)
    assert list(folder.iterdir()) == []


def test_a_server_that_says_no_is_quoted(server, progress):
    server.status = 404
    with pytest.raises(ModelError, match="answers 404: try again later"):
        download(server.models["sam-vit-b"], progress)
    assert len(server.requests) == 1


def test_no_network_is_said_in_one_line(server, progress):
    model = replace(server.models["sam-vit-b"], url="http://127.0.0.1:9/sam_vit_b_01ec64.pth")
    with pytest.raises(ModelError, match="cannot be reached: check the network") as caught:
        download(model, progress)
    assert "\n" not in str(caught.value)
    assert "give sam_vit_b_01ec64.pth as `checkpoint`" in str(caught.value)


def test_a_proxy_that_fails_is_named(server, progress, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"the proxy does not let .* check HTTPS_PROXY"):
        download(server.models["sam-vit-b"], progress)


def test_a_full_disk_is_known_before(server, progress):
    model = replace(server.models["sam-vit-b"], size=1 << 60)
    with pytest.raises(ModelError, match="MiB free; set ALPS_GEO_MODELS to another folder"):
        download(model, progress)
    assert server.requests == []


def run(*arguments):
    result = CliRunner().invoke(cli, ["models", *map(str, arguments)], prog_name="alps-geo")
    return result.exit_code, result.output


def test_a_mirror_is_asked_where_one_is_set_and_checked_all_the_same(server, monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
    # The server has the space that the true file needs, but only a small one under its name.
    code, output = run("download", "sam-vit-b")
    assert code == 1
    assert "its checksum is wrong" in output
    assert server.requests == [None]


def test_a_file_is_added_verified_and_removed(tmp_path, folder):
    file = save_sam(tmp_path / "mine.pth")
    assert run("add", file) == (
        0,
        f"Installed sam-vit-48x2: {folder / 'sam-vit-48x2.pth'}\n",
    )
    assert "checksum right" in run("verify")[1]
    rows = json.loads(run("list", "--json")[1])["models"]
    assert rows[-1]["name"] == "sam-vit-48x2"
    assert rows[-1]["sha256"] == sha256_of(file)
    assert str(folder) in run("list")[1]
    code, output = run("add", file)
    assert code == 1
    assert "sam-vit-48x2 is installed already" in output
    assert run("remove", "sam-vit-48x2")[0] == 0
    assert list(folder.iterdir()) == []


def test_damaged_weights_are_found(tmp_path, folder):
    run("add", save_sam(tmp_path / "mine.pth"))
    with (folder / "sam-vit-48x2.pth").open("ab") as file:
        file.write(b"x")
    code, output = run("verify", "sam-vit-48x2")
    assert code == 1
    assert "is damaged: its checksum is not that of sam-vit-48x2" in output


def test_a_file_that_is_no_checkpoint_is_not_added(tmp_path, folder):
    file = tmp_path / "notes.pth"
    file.write_text("hello")
    code, output = run("add", file)
    assert code == 1
    assert "notes.pth cannot be read as a checkpoint" in output
    assert not folder.exists()


@pytest.mark.parametrize(
    "command", [("verify", "sam-vit-b"), ("remove", "sam-vit-b")], ids=lambda parts: parts[0]
)
def test_weights_that_are_not_there_are_named(command):
    code, output = run(*command)
    assert code == 1
    assert "the weights of sam-vit-b are not installed" in output


def test_unknown_models_are_refused_with_the_known_ones():
    code, output = run("download", "sam2")
    assert code == 1
    assert "no known model is called 'sam2'; known: " in output


def test_the_help_of_the_setting_names_every_model():
    (text,) = [item.metadata["help"] for _, item in all_settings() if option_name(item) == "model"]
    masks = [known.name for known in weights.KNOWN if known.kind == weights.MASKS]
    for name in ("auto", "builtin", *masks):
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "sam-vit-h"), "the weights of sam-vit-h are not installed"),
        (("--model", "mobile-sam"), "the weights of mobile-sam are not installed"),
        (("--checkpoint", "gone.pth"), "there is no checkpoint file gone.pth"),
        (("--model", "sam9"), "there is no mask model 'sam9'"),
        (("--model", "builtin", "--checkpoint", "x.pth"), "--checkpoint needs a SAM model"),
    ],
    ids=["weights", "mobile", "checkpoint", "name", "both"],
)
@pytest.mark.parametrize("command", [("label", "scene.tif", "-o", "out"), ("info", "scene.tif")])
def test_a_model_that_cannot_run_is_told_before_anything_large_is_imported(
    tmp_path, command, arguments, said
):
    """In a process of its own: what is imported here has been imported by other tests."""
    code = (
        "import sys; from alps_geo.cli.main import cli;"
        " cli(sys.argv[1:], prog_name='alps-geo', standalone_mode=False);"
        " print(*({'torch', 'numpy', 'rasterio', 'numba'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *command, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ALPS_GEO_MODELS": str(tmp_path)},
        cwd=tmp_path,
    )
    assert said in result.stderr
    assert result.stderr.splitlines()[1:] == [""]

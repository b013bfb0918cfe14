"""Set-ups that fail, engines that do not fit, proxies: said plainly, and what works stays."""

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qgis_plugin.setup import environments, places, work
from qgis_plugin.setup.causes import explain
from qgis_plugin.setup.check import SetupCancelled, SetupError, check, check_fit
from qgis_plugin.setup.environments import NOTE, Plan, made_in
from qgis_plugin.setup.proxy import Proxy

from .pythons import make_python

NONE = "ERROR: Could not find a version that satisfies the requirement torch (from versions: none)"
END = [NONE, "ERROR: No matching distribution found for torch"]


def _retry(cause):
    return (
        "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None))"
        f" after connection broken by '{cause}': /simple/torch/"
    )


_NEW = "NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>: "
_PROXY = "ProxyError('Cannot connect to proxy.', "
#: What pip 23.2 and the venv of Python 3.11 wrote, and what people are to be told.
RECORDED = {
    "no name server": (
        [
            _retry(f"{_NEW}Failed to establish a new connection: [Errno -2] Name or service')"),
            *END,
        ],
        "^The server of Python packages cannot be reached: check the network",
    ),
    "refused": (
        [_retry(f"{_NEW}Failed to establish a new connection: [Errno 111] Connection')"), *END],
        "cannot be reached",
    ),
    "dead proxy": (
        [
            _retry(f"{_PROXY}{_NEW}Failed to establish a new connection: [Errno 111] C'))"),
            *END,
        ],
        "^The proxy does not answer: correct it in Settings ▸ Options ▸ Network",
    ),
    "proxy wants a login": (
        [
            _retry(
                f"{_PROXY}OSError('Tunnel connection failed: 407 Proxy Authentication Required'))"
            ),
            *END,
        ],
        "^The proxy asks for a user and a password",
    ),
    "proxy forbids": (
        [_retry(f"{_PROXY}OSError('Tunnel connection failed: 403 Forbidden'))"), *END],
        "does not let this computer through",
    ),
    "socks": (
        [
            "ERROR: Could not install packages due to an OSError: Missing dependencies for SOCKS"
            " support."
        ],
        "does not work with a SOCKS proxy",
    ),
    "interception": (
        [
            "Could not fetch URL https://pypi.org/simple/torch/: There was a problem confirming"
            " the ssl certificate: HTTPSConnectionPool(host='pypi.org', port=443): Max retries"
            " exceeded with url: /simple/torch/ (Caused by SSLError(SSLCertVerificationError(1,"
            " '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"
            " (_ssl.c:1006)'))) - skipping",
            *END,
        ],
        "certificate is not trusted.*REQUESTS_CA_BUNDLE",
    ),
    "disk full": (
        [
            _retry(f"{_NEW}Failed to establish a new connection: [Errno -2] Name or service')"),
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on"
            " device: '/x/engine/lib/libtorch_cpu.so'",
        ],
        "^The disk is full: make room where .*engine",
    ),
    "disk full on Windows": (
        ["ERROR: Could not install packages due to an OSError: [WinError 112] There is not enough"],
        "^The disk is full",
    ),
    "read-only": (
        ["Error: [Errno 30] Read-only file system: '/full/v2'"],
        "^You may not write to .*ALPS_GEO_ENVIRONMENTS",
    ),
    "no permission": (
        ["ERROR: Could not install packages due to an OSError: [WinError 5] Access is denied: 'C'"],
        "^You may not write to",
    ),
    "virus scanner": (
        ["PermissionError: [WinError 32] The process cannot access the file because it is being"],
        "virus scanner",
    ),
    "nothing for this Python": (
        [
            _retry(f"{_NEW}Failed to establish a new connection: [Errno -2] Name or service')"),
            "ERROR: Could not find a version that satisfies the requirement torch"
            " (from versions: 1.0, 1.1, 1.2, 1.3)",
        ],
        r"^There is no torch for this Python and system \(there are only … 1.1, 1.2, 1.3\)",
    ),
    "an index that says nothing": (END, "has no torch, or keeps it back"),
    "changed on the way": (
        ["ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."],
        "^What arrived is damaged",
    ),
    "nothing ready-made": (["error: subprocess-exited-with-error"], "choose another Python"),
}


@pytest.fixture
def base(tmp_path, monkeypatch):
    folder = tmp_path / "environments"
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(folder))
    return folder


def _plan(python, **others):
    # A folder of wheels, for none of these may reach the network.
    wheels = python.parent / "wheels"
    wheels.mkdir(exist_ok=True)
    (wheels / "alps_geo-1.2.0-py3-none-any.whl").touch()
    return Plan(places.new_folder("1.2.0"), str(python), "1.2.0", wheels=wheels, **others)


def _nothing(line):
    pass


@pytest.mark.parametrize("name", RECORDED)
def test_a_failure_is_one_plain_sentence_with_its_remedy(name):
    lines, expected = RECORDED[name]
    said = explain(lines, "/home/ann/engine")
    assert re.search(expected, said), said
    assert "\n" not in said
    assert not re.search("ERROR|WARNING|Errno|Retry|Exception|WinError", said)


def test_a_line_nobody_knows_is_not_explained():
    assert explain(["Something else"], "/home/ann/engine") == ""


@pytest.mark.parametrize("name", ["dead proxy", "disk full", "interception"])
def test_what_fails_is_said_plainly_its_words_are_in_the_log_and_nothing_is_left(
    name, base, tmp_path
):
    lines, expected = RECORDED[name]
    python = make_python(tmp_path / "python", "1.2.0", lines, 1)
    plan, log = _plan(python), []
    plan = Plan(plan.folder, plan.python, plan.version)
    if shutil.disk_usage(tmp_path).free < 2.5e9:
        pytest.skip("the disk is too full to begin")
    with pytest.raises(SetupError, match=expected) as caught:
        environments.create(plan, log.append)
    assert "\n" not in str(caught.value)
    assert "Retrying" not in str(caught.value)
    assert set(lines) <= set(log)
    assert list(base.iterdir()) == []


def test_environments_lie_beside_each_other_and_a_failure_leaves_the_old_one(base, tmp_path):
    good = _plan(make_python(tmp_path / "good", "1.2.0"))
    environments.create(good, _nothing)
    before = sorted(path for path in base.rglob("*"))
    faults = {
        "pip": make_python(tmp_path / "pip", "1.2.0", ["No space left on device"], 1),
        "venv": make_python(tmp_path / "venv", "1.2.0", venv="Error: ensurepip is not available"),
        "old": make_python(tmp_path / "old", "1.1.9"),
    }
    for python in faults.values():
        plan = _plan(python)
        assert plan.folder != good.folder
        with pytest.raises(
            SetupError, match=r"full|cannot make environments|older than the plugin"
        ):
            environments.create(plan, _nothing)
        assert sorted(path for path in base.rglob("*")) == before
        assert check(str(places.interpreter_of(good.folder))).version == "1.2.0"
    asked = []
    with pytest.raises(SetupCancelled, match="Stopped"):
        environments.create(_plan(tmp_path / "good"), _nothing, lambda: bool(asked.append(1)) or 1)
    assert sorted(path for path in base.rglob("*")) == before
    again = _plan(tmp_path / "good")
    environments.create(again, _nothing)
    assert [item.folder for item in made_in(base)] == [again.folder, good.folder]
    assert all(item.complete for item in made_in(base))


def test_what_a_killed_attempt_left_is_found_one_that_goes_on_is_not(base):
    for name, age_s in (("left", 3600), ("going", 0)):
        (base / name).mkdir(parents=True)
        environments._write_note(base / name, "1.2.0", complete=False)
        then = time.time() - age_s
        os.utime(base / name / NOTE, (then, then))
    (base / "mine").mkdir()
    assert [(item.folder.name, item.complete) for item in made_in(base)] == [("left", False)]
    beat = environments._Beat(base / "left", lambda: False)
    beat._last -= 2 * environments._BEAT_S
    beat()
    assert made_in(base) == []


def test_folders_that_cannot_be_written_are_said_so(tmp_path, monkeypatch):
    # A file in place of a folder, because root may write everywhere.
    (tmp_path / "file").touch()
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(SetupError, match=r"cannot be written: .*Not a directory"):
        environments.create(_plan(make_python(tmp_path / "python", "1.2.0")), _nothing)


def test_a_disk_with_little_room_is_told_before_anything_is_made(base, tmp_path, monkeypatch):
    monkeypatch.setattr(
        environments.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9e9, 8e9, 1e9)
    )
    python = make_python(tmp_path / "python", "1.2.0")
    with pytest.raises(SetupError, match=r"2 GB are needed .* 1\.0 GB are free: make room"):
        environments.create(Plan(base / "engine", str(python), "1.2.0"), _nothing)
    assert not base.exists()


@pytest.mark.parametrize(
    ("version", "problem", "comparison"),
    [
        ("1.1.9", "alps-geo 1.1.9, is older than the plugin, 1.2.0: press Create", None),
        ("1.2.0", "^$", "Engine and plugin are of the same version"),
        ("1.3.0", "^$", r"newer than the plugin \(1.2.0\).*update the plugin"),
    ],
)
def test_versions_are_compared_and_what_to_do_is_said(version, problem, comparison, tmp_path):
    python = str(make_python(tmp_path / "python", version))
    report = check(python)
    assert re.search(problem, report.problem("1.2.0"))
    if comparison:
        assert re.search(comparison, check_fit(python, "1.2.0").compare("1.2.0"))
    else:
        with pytest.raises(SetupError, match=problem):
            check_fit(python, "1.2.0")


class _Told:
    def __init__(self):
        self.lines, self.steps = [], []

    def log(self, line):
        self.lines.append(line)

    def tell_step(self, *step):
        self.steps.append(step)

    def is_cancelled(self):
        return False


@pytest.mark.parametrize("kind", ["missing", "folder", "no python", "no engine", "old"])
def test_an_interpreter_that_will_not_do_is_refused_and_the_one_in_use_named(kind, tmp_path):
    text = tmp_path / "text"
    text.write_text("#!/bin/sh\nexit 3\n")
    text.chmod(0o755)
    paths = {
        "missing": tmp_path / "none",
        "folder": tmp_path,
        "no python": text,
        "no engine": Path(sys.base_prefix) / "bin" / "python3",
        "old": make_python(tmp_path / "old", "1.0.0"),
    }
    with pytest.raises(SetupError, match=r"The engine in use stays /good/python\.") as caught:
        work.choosing(str(paths[kind]), "1.2.0", "/good/python")(_Told())
    assert "\n" not in str(caught.value)


def test_pip_learns_of_the_proxy_and_the_log_not_of_its_password(base, tmp_path):
    lines = ["Using http://ann:s%20word@proxy.example:3128", "Errno 28"]
    python = make_python(tmp_path / "python", "1.2.0", lines, 1)
    proxy = Proxy("proxy.example", 3128, "ann", "s word", excluded=("https://intranet.example/a",))
    told = _Told()
    with pytest.raises(SetupError, match="disk is full"):
        work.creating(_plan(python, proxy=proxy), "")(told)
    assert any("through the HTTP proxy proxy.example:3128" in line for line in told.lines)
    assert not any("word@" in line for line in told.lines)
    # Written by the copy of the program in the environment, to the place of the first.
    seen = json.loads((tmp_path / "python.json").read_text())
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        assert seen[name] == "http://ann:s%20word@proxy.example:3128"
    assert "intranet.example" in seen["no_proxy"].split(",")
    assert seen["NO_PROXY"] == seen["no_proxy"]


def test_a_socks_proxy_is_refused_before_anything_is_made(base, tmp_path):
    python = make_python(tmp_path / "python", "1.2.0")
    plan = Plan(base / "engine", str(python), "1.2.0", proxy=Proxy("socks.example", socks=True))
    with pytest.raises(SetupError, match="does not work with a SOCKS proxy: set an HTTP proxy"):
        environments.create(plan, _nothing)
    assert not base.exists()


@given(
    user=st.text(min_size=1, max_size=8),
    password=st.text(max_size=8),
    port=st.integers(0, 65535),
    host=st.sampled_from(["proxy.example", "10.0.0.1", "fe80::1"]),
)
def test_any_login_survives_the_way_through_an_address(user, password, port, host):
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(Proxy(host, port, user, password).address)
    assert (parts.hostname, parts.port or 0) == (host, port)
    assert (unquote(parts.username), unquote(parts.password)) == (user, password)


def test_a_proxy_replaces_that_of_the_variables_and_adds_to_what_is_left_out():
    before = {"HTTPS_PROXY": "http://old", "all_proxy": "http://old", "no_proxy": "localhost"}
    excluded = ("https://a.example/path", "b.example:8080", "", "[", "https://a.example/other")
    after = Proxy("new", 8080, excluded=excluded).added_to(before)
    assert {text for name, text in after.items() if name.lower() == "https_proxy"} == {
        "http://new:8080"
    }
    assert "all_proxy" not in after
    assert after["no_proxy"] == "localhost,a.example,b.example"
    assert Proxy().added_to(before) == before

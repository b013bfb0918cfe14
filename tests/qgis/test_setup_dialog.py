"""The dialog that sets up the engine: it works beside the GUI, and leaves nothing behind."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from qgis.core import QgsSettings
from qgis.PyQt.QtCore import QEventLoop, QTimer
from qgis.PyQt.QtWidgets import QMainWindow

from tests.qgis_plugin.pythons import make_python

ROOT = Path(__file__).resolve().parents[2]
# The tests hide it: they begin in a QGIS that has no engine yet.
ENGINE = os.environ.get("ALPS_GEO_ENGINE")


@pytest.fixture
def engine_python():
    """Return the real engine's Python, which `ALPS_GEO_ENGINE` names."""
    if not ENGINE:
        pytest.skip("ALPS_GEO_ENGINE names no Python with alps-geo")
    return ENGINE


@pytest.fixture
def base(monkeypatch, tmp_path):
    """Return the folder of the environments."""
    monkeypatch.setenv("ALPS_GEO_ENVIRONMENTS", str(tmp_path / "environments"))
    return tmp_path / "environments"


@pytest.fixture
def dialog(provider, monkeypatch, base):
    """Return the dialog of a QGIS that has no engine yet."""
    monkeypatch.delenv("ALPS_GEO_ENGINE", raising=False)
    QgsSettings().remove("alps_geo/engine")
    from qgis_plugin.setup.dialog import SetupDialog

    shown = SetupDialog()
    shown.show()
    yield shown
    shown.end()
    QgsSettings().remove("alps_geo/engine")


def wait(dialog, seconds=120):
    """Let the GUI live until the work has ended; return the longest time it stood still."""
    loop, gaps, last = QEventLoop(), [0.0], [time.monotonic()]
    end = time.monotonic() + seconds

    def beat():
        gaps.append(time.monotonic() - last[0])
        last[0] = time.monotonic()
        if dialog.worker is None or time.monotonic() > end:
            loop.quit()

    timer = QTimer()
    timer.timeout.connect(beat)
    timer.start(20)
    loop.exec()
    timer.stop()
    assert dialog.worker is None, "the work has not ended"
    return max(gaps)


def test_an_environment_is_created_checked_and_removed(dialog, engine_python, tmp_path):
    from qgis_plugin import engine

    wheels = tmp_path / "wheels"
    subprocess.run(
        [engine_python, "-m", "tests.qgis_plugin.wheels", str(wheels)],
        check=True,
        timeout=120,
        cwd=ROOT,
    )
    dialog.python.setFilePath(engine_python)
    dialog.wheels.setFilePath(str(wheels))
    dialog.create_button.click()
    assert not dialog.create_button.isEnabled()
    assert dialog.stop_button.isVisible()
    # The heart of the GUI beats every 20 ms; machines that are busy may miss some beats.
    assert wait(dialog) < 1.0
    assert "The engine is ready" in dialog.status.text(), dialog.log.toPlainText()
    assert "Successfully installed" in dialog.log.toPlainText()
    assert engine.problem() == ""
    dialog.check_button.click()
    wait(dialog)
    assert "alps-geo 0." in dialog.status.text()
    assert "Device:" in dialog.status.text()
    assert "of the same version" in dialog.status.text()
    dialog.remove_button.click()
    wait(dialog)
    answer(dialog, "Remove ")
    wait(dialog)
    assert "was removed" in dialog.status.text()
    assert dialog.path.filePath() == ""
    assert "Set up engine" in engine.problem()


def answer(dialog, beginning):
    """Press the button of the question whose text begins so."""
    (button,) = [b for b in dialog.question.buttons if b.text().startswith(beginning)]
    assert button.isVisible()
    button.click()


def test_the_work_can_be_stopped_and_nothing_is_left(dialog, engine_python, base):
    dialog.python.setFilePath(engine_python)
    begin(dialog)
    assert (dialog.bar.value(), dialog.bar.maximum()) == (0, 4)
    assert dialog.status.text() == "Step 1 of 4: Making the environment …"
    before = time.monotonic()
    dialog.stop_button.click()
    wait(dialog)
    assert time.monotonic() - before < 3
    assert "Stopped." in dialog.status.text()
    assert dialog.create_button.text() == "Create"
    assert not dialog.remove_button.isEnabled()
    assert list(base.iterdir()) == []


def begin(dialog):
    """Start to create an environment, and wait until the first step is told."""
    dialog.create_button.click()
    while "Making the environment" not in dialog.log.toPlainText():
        QTimer.singleShot(20, (loop := QEventLoop()).quit)
        loop.exec()


def test_closing_asks_before_it_stops_the_work_and_does_not_block(dialog, engine_python):
    dialog.python.setFilePath(engine_python)
    begin(dialog)
    dialog.reject()
    assert "still going on" in dialog.question.text.text()
    answer(dialog, "Go on")
    assert dialog.isVisible()
    assert not dialog.worker.is_cancelled()
    dialog.reject()
    before = time.monotonic()
    answer(dialog, "Stop it")
    assert time.monotonic() - before < 0.5
    assert dialog.isVisible()
    wait(dialog)
    assert not dialog.isVisible()


def test_an_existing_interpreter_is_chosen_and_kept(dialog, engine_python):
    from qgis_plugin import engine

    dialog.path.setFilePath(engine_python)
    dialog.use_button.click()
    wait(dialog)
    assert "Installed mask models" in dialog.status.text()
    assert engine.interpreter() == engine_python


def test_an_interpreter_that_will_not_do_is_not_kept(dialog, good, tmp_path):
    from qgis_plugin import engine

    engine.choose(str(good))
    old = make_python(tmp_path / "old", "0.0.1")
    for path in ("/usr/bin/python3", str(tmp_path / "none"), str(old)):
        dialog.path.setFilePath(path)
        dialog.use_button.click()
        assert engine.interpreter() == str(good)
        wait(dialog)
        assert engine.interpreter() == str(good)
        assert f"The engine in use stays {good}" in dialog.status.text()
        # What was typed can be corrected.
        assert dialog.path.filePath() == path


@pytest.fixture
def good(tmp_path):
    """Return a Python whose engine and pip play their part."""
    return make_python(tmp_path / "good", version())


@pytest.fixture
def wheels(tmp_path):
    """Return a folder of wheels, so that no network is looked for."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "alps_geo-1.0-py3-none-any.whl").touch()
    return folder


def version():
    from qgis_plugin.parameters import engine_version

    return engine_version()


def create_from(dialog, python, wheels):
    dialog.python.setFilePath(str(python))
    dialog.wheels.setFilePath(str(wheels))
    dialog.create_button.click()
    wait(dialog)


def test_create_again_asks_and_switches_once_the_new_one_works(dialog, good, wheels, base):
    from qgis_plugin import engine

    create_from(dialog, good, wheels)
    first = engine.interpreter()
    assert dialog.create_button.text() == "Create again…"
    create_from(dialog, good, wheels)
    assert "Remove the old one then?" in dialog.question.text.text()
    assert " GB)" in dialog.question.text.text()
    assert not dialog.create_button.isEnabled()
    answer(dialog, "Cancel")
    assert dialog.worker is None
    assert len(list(base.iterdir())) == 1
    create_from(dialog, good, wheels)
    answer(dialog, "Create, then remove")
    assert engine.interpreter() == first
    wait(dialog)
    second = engine.interpreter()
    assert second != first
    assert [str(path) for path in base.iterdir()] == [str(Path(second).parents[1])]
    assert "was removed" in dialog.status.text()
    assert "The engine is ready" in dialog.status.text()
    create_from(dialog, good, wheels)
    answer(dialog, "Create, remove nothing")
    wait(dialog)
    assert len(list(base.iterdir())) == 2
    assert engine.interpreter() != second


def test_a_new_environment_that_fails_leaves_the_old_one_in_use(
    dialog, good, wheels, base, tmp_path
):
    from qgis_plugin import engine

    create_from(dialog, good, wheels)
    first = engine.interpreter()
    bad = make_python(tmp_path / "bad", version(), ["[Errno 28] No space left on device"], 1)
    create_from(dialog, bad, wheels)
    answer(dialog, "Create, then remove")
    wait(dialog)
    assert "The disk is full: make room" in dialog.status.text()
    assert f"The engine in use stays {first}" in dialog.status.text()
    assert "Errno" not in dialog.status.text()
    assert "[Errno 28]" in dialog.log.toPlainText()
    assert engine.interpreter() == first
    assert engine.problem() == ""
    assert len(list(base.iterdir())) == 1


def test_nothing_is_removed_unasked(dialog, good, wheels, base):
    from qgis_plugin import engine

    create_from(dialog, good, wheels)
    first = engine.interpreter()
    dialog.remove_button.click()
    wait(dialog)
    assert "It is the engine in use" in dialog.question.text.text()
    answer(dialog, "Cancel")
    assert engine.problem() == ""
    dialog.remove_button.click()
    wait(dialog)
    dialog.reject()
    assert not dialog.isVisible()
    assert engine.interpreter() == first
    assert len(list(base.iterdir())) == 1


def test_creating_in_place_of_a_chosen_engine_asks_first(dialog, good, wheels):
    from qgis_plugin import engine

    engine.choose(str(good))
    create_from(dialog, good, wheels)
    assert "stays as it is" in dialog.question.text.text()
    answer(dialog, "Cancel")
    assert engine.interpreter() == str(good)


def test_a_variable_that_overrides_the_choice_is_said(dialog, good, tmp_path, monkeypatch):
    from qgis_plugin import engine

    other = make_python(tmp_path / "other", version())
    assert not dialog.notice.isVisible()
    monkeypatch.setenv("ALPS_GEO_ENGINE", str(other))
    dialog.path.setFilePath(str(good))
    dialog.use_button.click()
    wait(dialog)
    assert engine.interpreter() == str(other)
    assert engine.chosen() == str(good)
    assert f"is kept, but ALPS_GEO_ENGINE names {other}" in dialog.status.text()
    assert dialog.notice.isVisible()
    assert f"ALPS_GEO_ENGINE names {other}" in dialog.notice.text()
    assert str(other) in dialog.in_use.text()
    monkeypatch.setenv("ALPS_GEO_ENGINE", str(tmp_path / "none"))
    assert "ALPS_GEO_ENGINE names it" in engine.problem()


def test_an_environment_that_another_profile_replaced_is_found(dialog, good, wheels, base):
    from qgis_plugin import engine

    create_from(dialog, good, wheels)
    made = engine.interpreter()
    engine.choose(str(base / "engine-old" / "bin" / "python"))
    assert engine.interpreter() == made


def test_the_dialog_is_not_modal_one_and_ends_with_the_plugin(qgis_app, monkeypatch, good):
    import qgis_plugin.plugin as module

    window = QMainWindow()
    monkeypatch.setattr(module, "iface", Iface(window))
    monkeypatch.delenv("ALPS_GEO_ENGINE", raising=False)
    plugin = module.AlpsGeoPlugin()
    plugin.set_up()
    shown = plugin._dialog
    assert shown.isVisible()
    assert not shown.isModal()
    plugin.set_up()
    assert plugin._dialog is shown
    shown.reject()
    assert not shown.isVisible()
    plugin.set_up()
    assert shown.isVisible()
    shown.path.setFilePath(str(good))
    shown.check_button.click()
    worker = shown.worker
    before = time.monotonic()
    plugin.unload()
    assert time.monotonic() - before < 3
    assert worker.isFinished()
    assert not shown.isVisible()
    assert plugin._dialog is None


class Iface:
    """Stands for QGIS's interface."""

    def __init__(self, window):
        self.mainWindow = lambda: window


@pytest.fixture
def proxy_settings(provider):
    """Return a function that stores QGIS's proxy, and forget it afterwards."""

    def store(**values):
        settings = QgsSettings()
        settings.remove("proxy")
        settings.setValue("proxy/proxyEnabled", True)
        for name, value in values.items():
            settings.setValue(f"proxy/{name}", value)

    yield store
    QgsSettings().remove("proxy")


HTTP = {"proxyType": "HttpProxy", "proxyHost": "proxy.example", "proxyPort": "3128"}


def test_pip_and_the_engine_get_the_proxy_of_qgis(proxy_settings, monkeypatch):
    from qgis_plugin import engine
    from qgis_plugin.setup.stored_proxy import stored_proxy

    assert stored_proxy().address == ""
    monkeypatch.setenv("no_proxy", "localhost")
    proxy_settings(
        **HTTP,
        proxyUser="ann",
        proxyPassword="a b:c",
        proxyExcludedUrls=["https://intranet.example/x"],
        noProxyUrls="tiles.example",
    )
    address = "http://ann:a%20b%3Ac@proxy.example:3128"
    assert stored_proxy().address == address
    variables = engine.environment()
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        assert variables[name] == address
    assert variables["no_proxy"] == "localhost,intranet.example,tiles.example"
    QgsSettings().setValue("proxy/proxyEnabled", False)
    assert stored_proxy().address == ""


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("HttpCachingProxy", "http://proxy.example:3128"),
        ("Socks5Proxy", "socks5h://proxy.example:3128"),
        ("FtpCachingProxy", ""),
        ("DefaultProxy", "http://system.example:8080"),
    ],
)
def test_every_type_of_proxy_is_known(kind, address, proxy_settings, monkeypatch):
    from qgis_plugin.setup.stored_proxy import stored_proxy

    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://system.example:8080")
    proxy_settings(**{**HTTP, "proxyType": kind})
    assert stored_proxy().address == address


def test_a_login_in_the_authentication_database_is_used(proxy_settings):
    from qgis.core import QgsApplication, QgsAuthMethodConfig

    from qgis_plugin.setup.stored_proxy import stored_proxy

    manager = QgsApplication.authManager()
    if manager.isDisabled():
        pytest.skip("this QGIS has no authentication database")
    assert manager.setMasterPassword("master", True)
    config = QgsAuthMethodConfig("Basic")
    config.setName("proxy")
    config.setConfigMap({"username": "ann", "password": "secret", "realm": ""})
    stored = manager.storeAuthenticationConfig(config)
    assert stored[0] if isinstance(stored, tuple) else stored
    proxy_settings(**HTTP, authcfg=config.id())
    assert stored_proxy().address == "http://ann:secret@proxy.example:3128"
    manager.clearMasterPassword()
    assert stored_proxy().address == "http://proxy.example:3128"

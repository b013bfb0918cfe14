"""The dialog that sets up the engine: it works beside the GUI, and leaves nothing behind."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from qgis.core import QgsSettings
from qgis.PyQt.QtCore import QEventLoop, QTimer

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
def dialog(provider, monkeypatch, tmp_path):
    """Return the dialog of a QGIS that has no engine yet."""
    monkeypatch.delenv("ALPS_GEO_ENGINE", raising=False)
    monkeypatch.setenv("ALPS_GEO_ENVIRONMENTS", str(tmp_path / "environments"))
    QgsSettings().remove("alps_geo/engine")
    from qgis_plugin.setup.dialog import SetupDialog

    shown = SetupDialog()
    shown.show()
    yield shown
    shown.reject()
    wait(shown)
    shown.deleteLater()
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
    dialog.remove_button.click()
    wait(dialog)
    assert "was removed" in dialog.status.text()
    assert "Set up engine" in engine.problem()


def test_the_work_can_be_stopped_and_tried_again(dialog, engine_python):
    dialog.python.setFilePath(engine_python)
    begin(dialog)
    assert (dialog.bar.value(), dialog.bar.maximum()) == (0, 4)
    assert dialog.status.text() == "Step 1 of 4: Making the environment …"
    before = time.monotonic()
    dialog.stop_button.click()
    wait(dialog)
    assert time.monotonic() - before < 3
    assert "Stopped." in dialog.status.text()
    assert dialog.create_button.text() == "Try again"
    assert dialog.remove_button.isEnabled()
    dialog.remove_button.click()
    wait(dialog)
    assert dialog.create_button.text() == "Create"


def begin(dialog):
    """Start to create an environment, and wait until the first step is told."""
    dialog.create_button.click()
    while "Making the environment" not in dialog.log.toPlainText():
        QTimer.singleShot(20, (loop := QEventLoop()).quit)
        loop.exec()


def test_closing_stops_the_work_and_does_not_block(dialog, engine_python):
    dialog.python.setFilePath(engine_python)
    begin(dialog)
    before = time.monotonic()
    dialog.reject()
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


def test_an_interpreter_without_the_engine_is_told(dialog):
    dialog.path.setFilePath("/usr/bin/python3")
    dialog.use_button.click()
    wait(dialog)
    assert "has no working alps-geo" in dialog.status.text()


def test_pip_gets_the_proxy_of_qgis(provider):
    from qgis_plugin.setup.proxy import proxy_address

    settings = QgsSettings()
    assert proxy_address() == ""
    values = {"Enabled": True, "Type": "HttpProxy", "Host": "proxy.example", "Port": "3128"}
    for name, value in {**values, "User": "ann", "Password": "a b:c"}.items():
        settings.setValue(f"proxy/proxy{name}", value)
    assert proxy_address() == "http://ann:a%20b%3Ac@proxy.example:3128"
    settings.remove("proxy")

"""Runs inside a QGIS with a screen: the set-up dialog, pressed by a mouse (xdotool).

Told by variables: SETUP_ROOT (the checkout), SETUP_GOOD and SETUP_BAD (Pythons that play their
part), SETUP_WHEELS, SETUP_OUT (folder for pictures and facts).
"""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

from qgis.PyQt.QtCore import QPoint, QTimer
from qgis.PyQt.QtGui import QGuiApplication
from qgis.PyQt.QtWidgets import QApplication, QLabel, QScrollArea
from qgis.utils import iface

sys.path.insert(0, os.environ["SETUP_ROOT"])
from qgis_plugin import engine
from qgis_plugin.plugin import AlpsGeoPlugin
from qgis_plugin.setup.places import base_folder

OUT = Path(os.environ["SETUP_OUT"])
FACTS, KEPT = {"outside": [], "cut_off": []}, []


def press(widget, then):
    """Move the mouse to the middle of a widget, press it, and go on when QGIS has heard of it."""
    heard = []
    for area in widget.window().findChildren(QScrollArea):
        if area.isAncestorOf(widget):
            area.ensureWidgetVisible(widget)
    widget.clicked.connect(lambda *_: heard.append(True))
    place = at_screen(widget, QPoint(widget.width() // 2, widget.height() // 2))
    moves = ["mousemove", "--sync", str(place.x()), str(place.y()), "click", "1"]
    mouse = subprocess.Popen(["xdotool", *moves])
    KEPT.append(mouse)

    def wait():
        if heard:
            then()
        elif mouse.poll() is None or FACTS.setdefault("patience", 100) > 0:
            FACTS["patience"] = FACTS.get("patience", 100) - 1
            QTimer.singleShot(50, lambda: guarded(wait))
        else:
            raise RuntimeError(f"a press on {widget.text()!r} at {place} was not heard")

    FACTS.pop("patience", None)
    QTimer.singleShot(50, lambda: guarded(wait))


def at_screen(widget, point):
    """Return where a point of a widget is for the mouse, which counts the screen's own pixels."""
    scale = widget.devicePixelRatioF()
    place = widget.mapToGlobal(point)
    return QPoint(round(place.x() * scale), round(place.y() * scale))


def guarded(function):
    try:
        function()
    except BaseException:  # noqa: BLE001 - QGIS would abort without a word
        (OUT / "failure.txt").write_text(traceback.format_exc(), encoding="utf-8")
        os._exit(3)


def run(steps):
    """Go from step to step of a generator: wait while it gives None, press what it gives."""

    def go():
        try:
            widget = next(steps)
        except StopIteration:
            return
        if widget is None:
            QTimer.singleShot(150, lambda: guarded(go))
        else:
            press(widget, go)

    guarded(go)


def shot(name):
    dialog = KEPT[0]._dialog
    # What was just said may need another layout, and that of what is around it.
    for _ in range(5):
        QApplication.processEvents()
    dialog.grab().save(str(OUT / f"setup_{name}.png"))
    screen = QGuiApplication.primaryScreen()
    screen.grabWindow(0).save(str(OUT / f"setup_{name}_screen.png"))
    if not screen.availableGeometry().contains(dialog.geometry()):
        FACTS["outside"].append(f"{name}: {dialog.geometry()}")
    FACTS["cut_off"].extend(
        f"{name}: {label.height()} of {label.heightForWidth(label.width())} px: {label.text()}"
        for label in dialog.findChildren(QLabel)
        if label.isVisible() and label.height() < label.heightForWidth(label.width())
    )


def answers(dialog):
    return [button.text() for button in dialog.question.buttons]


def steps():
    plugin = AlpsGeoPlugin()
    KEPT.append(plugin)
    plugin.initGui()
    window = iface.mainWindow()
    room = QGuiApplication.primaryScreen().availableGeometry()
    window.setGeometry(room)
    tools = iface.mapNavToolToolBar()
    top = tools.mapToGlobal(tools.rect().bottomLeft()).y()
    yield None
    plugin._action.trigger()
    dialog = plugin._dialog
    # Below the toolbars, which are pressed as well.
    dialog.resize(dialog.width(), min(dialog.height(), room.bottom() - top))
    dialog.move(room.right() - dialog.width(), top)
    yield None
    FACTS["modal"] = QApplication.activeModalWidget() is not None
    shot("nothing")
    # QGIS hears of a mouse on its own toolbar while the dialog is open.
    iface.actionZoomIn().trigger()
    yield iface.mapNavToolToolBar().widgetForAction(iface.actionPan())
    FACTS["qgis_usable"] = iface.actionPan().isChecked()
    plugin.set_up()
    dialog.path.setFilePath("/usr/bin/python3")
    yield None
    yield dialog.use_button
    while dialog.worker is not None:
        yield None
    FACTS["refused"], FACTS["kept_after_refusal"] = dialog.status.text(), engine.chosen()
    shot("refused")
    dialog.python.setFilePath(os.environ["SETUP_GOOD"])
    dialog.wheels.setFilePath(os.environ["SETUP_WHEELS"])
    yield None
    yield dialog.create_button
    shot("creating")
    while dialog.worker is not None:
        yield None
    FACTS["created"], FACTS["first"] = dialog.status.text(), engine.chosen()
    shot("created")
    yield from replace(dialog)
    yield from take_away(dialog)
    os.environ["ALPS_GEO_ENGINE"] = os.environ["SETUP_GOOD"]
    plugin.set_up()
    yield None
    yield dialog.check_button
    while dialog.worker is not None:
        yield None
    FACTS["notice"] = dialog.notice.text()
    shot("override")
    plugin.unload()
    FACTS["hidden"] = not dialog.isVisible()
    (OUT / "facts.json").write_text(json.dumps(FACTS, indent=1), encoding="utf-8")
    iface.actionExit().trigger()


def replace(dialog):
    dialog.python.setFilePath(os.environ["SETUP_BAD"])
    yield None
    yield dialog.create_button
    while dialog.worker is not None:
        yield None
    FACTS["asked_again"], FACTS["answers_again"] = dialog.question.text.text(), answers(dialog)
    yield None
    shot("again")
    yield dialog.question.buttons[0]
    while dialog.worker is not None:
        yield None
    FACTS["failed"], FACTS["kept_after_failure"] = dialog.status.text(), engine.chosen()
    FACTS["left_after_failure"] = [path.name for path in base_folder().iterdir()]
    shot("failed")


def take_away(dialog):
    yield dialog.remove_button
    while dialog.worker is not None:
        yield None
    FACTS["asked_remove"] = dialog.question.text.text()
    yield None
    shot("remove")
    yield dialog.question.buttons[-1]
    yield None
    FACTS["there_after_cancel"] = Path(engine.chosen()).exists()
    yield dialog.remove_button
    while dialog.worker is not None:
        yield None
    yield None
    yield dialog.question.buttons[0]
    while dialog.worker is not None:
        yield None
    FACTS["removed"], FACTS["left"] = dialog.status.text(), len(list(base_folder().iterdir()))
    shot("removed")


QTimer.singleShot(1500, lambda: run(steps()))

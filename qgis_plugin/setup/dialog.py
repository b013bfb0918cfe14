"""The dialog *Set up engine*: choose an interpreter, or let the plugin make an environment."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

from qgis.gui import QgsFileWidget
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from .. import engine
from ..parameters import engine_version
from . import environments
from .places import interpreter_of, managed_folder
from .proxy import proxy_address
from .pythons import find_pythons
from .worker import Work, Worker

_INTRODUCTION = (
    "ALPS works through its engine, the Python package <b>alps-geo</b>, which lies in a Python"
    " environment of its own. QGIS's own Python stays as it is."
)


class SetupDialog(QDialog):
    """Chooses, makes, checks and removes the engine; nothing here blocks QGIS.

    Parameters
    ----------
    parent : QWidget, optional
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("ALPS: set up engine")
        self.setMinimumWidth(640)
        self.worker: Worker | None = None
        self._title, self._closing = "", False
        self._then: Callable[[], None] | None = None
        introduction = QLabel(_INTRODUCTION)
        introduction.setWordWrap(True)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setVisible(False)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(5_000)
        self.stop_button = QPushButton("Cancel the work")
        self.stop_button.clicked.connect(self.stop)
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for part in (introduction, self._existing_part(), self._own_part(), self.status):
            layout.addWidget(part)
        working = QHBoxLayout()
        working.addWidget(self.bar)
        working.addWidget(self.stop_button)
        layout.addLayout(working)
        layout.addWidget(self.log)
        layout.addWidget(close)
        self._show_state()

    def _existing_part(self) -> QGroupBox:
        box = QGroupBox("Engine in use")
        self.path = QgsFileWidget()
        self.path.setStorageMode(QgsFileWidget.StorageMode.GetFile)
        self.path.setDialogTitle("Python of an environment with alps-geo")
        self.path.setFilePath(engine.interpreter())
        self.use_button, self.check_button = QPushButton("Use"), QPushButton("Check")
        self.use_button.clicked.connect(self.use)
        self.check_button.clicked.connect(self.check)
        row = QHBoxLayout(box)
        row.addWidget(QLabel("Python:"))
        row.addWidget(self.path, 1)
        row.addWidget(self.use_button)
        row.addWidget(self.check_button)
        return box

    def _own_part(self) -> QGroupBox:
        box = QGroupBox("Or let the plugin create an environment")
        self.device = QComboBox()
        self.device.addItem(_size_text("CPU", "cpu"), "cpu")
        self.device.addItem(_size_text("NVIDIA GPU (CUDA)", "cuda"), "cuda")
        self.wheels = QgsFileWidget()
        self.wheels.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.wheels.setDialogTitle("Folder of wheels, for computers without a network")
        self.python = QgsFileWidget()
        self.python.setStorageMode(QgsFileWidget.StorageMode.GetFile)
        self.python.lineEdit().setPlaceholderText("found by itself; 3.10 to 3.13")
        form = QFormLayout(box)
        form.addRow("Folder:", QLabel(str(managed_folder())))
        form.addRow("PyTorch for:", self.device)
        form.addRow("Folder of wheels (offline):", self.wheels)
        form.addRow("Make it from Python:", self.python)
        self.create_button, self.remove_button = QPushButton("Create"), QPushButton("Remove")
        self.create_button.clicked.connect(self.create)
        self.remove_button.clicked.connect(self.remove)
        row = QHBoxLayout()
        row.addWidget(self.create_button)
        row.addWidget(self.remove_button)
        row.addStretch()
        form.addRow(row)
        return box

    def use(self) -> None:
        """Keep the chosen interpreter, and check it."""
        engine.choose(self.path.filePath())
        self.check()

    def check(self) -> None:
        """Show versions, device and models of the chosen interpreter."""
        interpreter = self.path.filePath()

        def work(worker: Worker) -> str:
            return environments.check(interpreter, worker.is_cancelled).text()

        if interpreter:
            self._start("Checking the engine", work)
        else:
            self.status.setText("Choose a Python first, or create an environment.")

    def create(self) -> None:
        """Make the environment, in place of an older one, and use it."""
        folder, chosen = managed_folder(), self.python.filePath()
        wheels = Path(self.wheels.filePath()) if self.wheels.filePath() else None
        device, proxy = self.device.currentData(), proxy_address()

        def work(worker: Worker) -> str:
            python = chosen or next((item.path for item in find_pythons()), "")
            if not python:
                raise environments.SetupError(
                    "No Python from 3.10 to 3.13 was found that can make environments: install one"
                    " (on Debian and Ubuntu: apt-get install python3-venv) and choose it above"
                )
            plan = environments.Plan(folder, python, engine_version(), device, wheels, proxy)
            environments.create(plan, worker.line.emit, worker.is_cancelled, worker.step.emit)
            size = environments.size_gb(folder)
            return f"The engine is ready: {interpreter_of(folder)} ({size:.1f} GB on disk)"

        self._start("Creating the environment", work, self._use_own)

    def remove(self) -> None:
        """Remove the environment that the plugin made."""
        folder = managed_folder()

        def work(worker: Worker) -> str:
            if environments.remove(folder):
                return f"{folder} was removed."
            return f"The plugin has made no environment in {folder}."

        self._start("Removing the environment", work, self._forget_own)

    def stop(self) -> None:
        """Stop what is going on; what was begun can be tried again."""
        if self.worker is not None:
            self.status.setText("Stopping …")
            self.worker.cancel()

    def _use_own(self) -> None:
        engine.choose(str(interpreter_of(managed_folder())))

    def _forget_own(self) -> None:
        if engine.interpreter() == str(interpreter_of(managed_folder())):
            engine.choose("")

    def _start(self, title: str, work: Work, then: Callable[[], None] | None = None) -> None:
        if self.worker is not None:
            return
        self._title, self._then = title, then
        self.log.appendPlainText(f"{title} …")
        self.status.setText(f"{title} …")
        self.worker = Worker(work, self)
        self.worker.line.connect(self.log.appendPlainText)
        self.worker.step.connect(self._show_step)
        self.worker.ended.connect(self._end)
        self.worker.start()
        self._show_state()

    def _show_step(self, done: int, total: int, title: str) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.status.setText(f"Step {done + 1} of {total}: {title} …")

    def _end(self, successful: bool, text: str) -> None:
        if self.worker is not None:
            # The signal comes from inside the thread, which still has to return.
            self.worker.wait()
            self.worker = None
        self.log.appendPlainText(text)
        plain = escape(text).replace("\n", "<br>")
        self.status.setText(plain if successful else f"<b>{self._title}:</b> {plain}")
        if successful and self._then is not None:
            self._then()
        self.path.setFilePath(engine.interpreter())
        self._show_state()
        if self._closing:
            super().reject()

    def _show_state(self) -> None:
        """Let buttons be pressed that can do something now."""
        busy = self.worker is not None
        ours = environments.is_ours(managed_folder())
        for button in (self.use_button, self.check_button, self.create_button):
            button.setEnabled(not busy)
        self.remove_button.setEnabled(not busy and ours)
        incomplete = ours and not environments.is_complete(managed_folder())
        self.create_button.setText(
            "Try again" if incomplete else "Create again" if ours else "Create"
        )
        self.stop_button.setVisible(busy)
        self.bar.setVisible(busy)
        self.bar.setRange(0, 0 if busy else 1)

    def reject(self) -> None:
        """Close; what is going on is stopped first, and the window waits for its end."""
        if self.worker is None:
            super().reject()
            return
        self._closing = True
        self.stop()


def _size_text(name: str, device: str) -> str:
    return f"{name}: about {environments.SIZES_GB[device]:g} GB on disk"

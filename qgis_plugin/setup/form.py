"""What the dialog *Set up engine* looks like; what its buttons do is in `dialog`."""

from __future__ import annotations

from qgis.gui import QgsFileWidget
from qgis.PyQt.QtGui import QGuiApplication
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from . import environments
from .question import Question
from .widgets import Log, Scrolled, Text

_INTRODUCTION = (
    "ALPS works through its engine, the Python package <b>alps-geo</b>, which lies in a Python"
    " environment of its own. QGIS's own Python stays as it is."
)
# Lines of the log that are always seen, and at first.
_LOG_LINES = (3, 12)


class SetupForm(QDialog):
    """The widgets of the dialog, without anything behind them.

    Parameters
    ----------
    parent : QWidget, optional
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("ALPS: set up engine")
        self.setMinimumWidth(680)
        self.setModal(False)
        self.notice, self.status = Text(), Text()
        self.notice.setStyleSheet("QLabel { color: #8a4b00; font-weight: bold; }")
        self.question = Question(self)
        self.bar = QProgressBar()
        self.stop_button = QPushButton("Cancel the work")
        self.log = Log()
        self.close_box = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        # It gives way first where the screen is small; the questions and the buttons never do.
        self.log.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.log.setMinimumHeight(_LOG_LINES[0] * self.fontMetrics().lineSpacing())
        layout = QVBoxLayout(self)
        parts = (Text(_INTRODUCTION), self.notice, self._existing_part(), self._own_part())
        self.scrolled = Scrolled(_stack(*parts), self)
        for part in (self.scrolled, self.question, self.status):
            layout.addWidget(part)
        working = QHBoxLayout()
        working.addWidget(self.bar)
        working.addWidget(self.stop_button)
        layout.addLayout(working)
        layout.addWidget(self.log, 1)
        layout.addWidget(self.close_box)
        for button in self.findChildren(QPushButton):
            # Return in a field of text shall not press any of them.
            button.setAutoDefault(False)
        self._size_once()

    def _size_once(self) -> None:
        """Take room for everything and some lines of the log, but no more than the screen has."""
        room = QGuiApplication.primaryScreen().availableGeometry()
        lines = (_LOG_LINES[1] - _LOG_LINES[0]) * self.fontMetrics().lineSpacing()
        hint = self.sizeHint()
        self.resize(
            min(hint.width(), room.width()), min(hint.height() + lines, room.height() * 9 // 10)
        )

    def _existing_part(self) -> QGroupBox:
        box = QGroupBox("Engine in use")
        self.in_use = Text()
        self.path = QgsFileWidget()
        self.path.setStorageMode(QgsFileWidget.StorageMode.GetFile)
        self.path.setDialogTitle("Python of an environment with alps-geo")
        self.use_button, self.check_button = QPushButton("Use"), QPushButton("Check")
        self.use_button.setToolTip("Checks this Python, and uses it if it is fit")
        self.check_button.setToolTip("Shows versions, device and models; changes nothing")
        row = QHBoxLayout()
        row.addWidget(QLabel("Python:"))
        row.addWidget(self.path, 1)
        row.addWidget(self.use_button)
        row.addWidget(self.check_button)
        layout = QVBoxLayout(box)
        layout.addWidget(self.in_use)
        layout.addLayout(row)
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
        self.what = Text()
        self.create_button, self.remove_button = QPushButton("Create"), QPushButton("Remove…")
        self.made = QComboBox()
        form = QFormLayout(box)
        form.addRow("PyTorch for:", self.device)
        form.addRow("Folder of wheels (offline):", self.wheels)
        form.addRow("Make it from Python:", self.python)
        form.addRow(self.what)
        row = QHBoxLayout()
        row.addWidget(self.create_button)
        row.addStretch()
        form.addRow(row)
        row = QHBoxLayout()
        row.addWidget(self.made, 1)
        row.addWidget(self.remove_button)
        form.addRow("Made by the plugin:", row)
        return box


def _stack(*parts: QWidget) -> QWidget:
    stacked = QWidget()
    layout = QVBoxLayout(stacked)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)
    return stacked


def _size_text(name: str, device: str) -> str:
    return f"{name}: about {environments.SIZES_GB[device]:g} GB on disk"

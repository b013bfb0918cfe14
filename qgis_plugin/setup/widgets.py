"""Widgets that Qt lacks: texts of which no line is cut off, logs, parts of a window that scroll."""

from __future__ import annotations

from typing import ClassVar

from qgis.gui import QgsScrollArea
from qgis.PyQt.QtCore import QEvent, QSize, Qt
from qgis.PyQt.QtWidgets import QFrame, QLabel, QPlainTextEdit, QWidget

_LEAST_LINES, _MOST_LINES = 6, 5_000


class Text(QLabel):
    """A text that is broken into lines, and always as high as these.

    Layouts inside each other, group boxes and forms among them, do not keep the height that a
    label wants for its width; they keep the least height that a widget has.

    Parameters
    ----------
    text : str
    parent : QWidget, optional
    """

    _CHANGES: ClassVar = (QEvent.Type.Resize, QEvent.Type.Show, QEvent.Type.FontChange)

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def hasHeightForWidth(self) -> bool:
        """Return False: layouts shall go by the least height."""
        return False

    def sizeHint(self) -> QSize:
        """Return what a label wants; of the height, what it needs."""
        hint = super().sizeHint()
        return QSize(hint.width(), self.minimumHeight()) if self.isVisible() else hint

    def setText(self, text: str) -> None:
        """Show another text."""
        super().setText(text)
        self._grow()

    def event(self, event: QEvent) -> bool:
        """Take another height with another width."""
        heard = bool(super().event(event))
        if event.type() in self._CHANGES:
            self._grow()
        return heard

    def _grow(self) -> None:
        # The width of what is not shown yet means nothing, and windows that grew stay large.
        height = self.heightForWidth(self.width()) if self.isVisible() else 0
        self.setMinimumHeight(max(height, 0))


class Log(QPlainTextEdit):
    """Lines of which the newest are in view, also after its height has changed.

    Who scrolls up to read stays there.

    Parameters
    ----------
    parent : QWidget, optional
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setMaximumBlockCount(_MOST_LINES)
        self._follows = True
        bar = self.verticalScrollBar()
        bar.valueChanged.connect(self._note)
        bar.rangeChanged.connect(self._follow)

    def _note(self, value: int) -> None:
        self._follows = value == self.verticalScrollBar().maximum()

    def _follow(self, least: int, most: int) -> None:
        if self._follows:
            self.verticalScrollBar().setValue(most)


class Scrolled(QgsScrollArea):
    """Asks for as much room as its content needs; it can do with a few lines.

    Parameters
    ----------
    content : QWidget
        With a layout.
    parent : QWidget, optional
    """

    def __init__(self, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setWidget(content)

    def sizeHint(self) -> QSize:
        """Return the room for the whole content."""
        return self.widget().sizeHint()

    def minimumSizeHint(self) -> QSize:
        """Return the room for the width of the content and a few lines of it."""
        width = self.widget().minimumSizeHint().width()
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(width + bar, _LEAST_LINES * self.fontMetrics().lineSpacing())

    def event(self, event: QEvent) -> bool:
        """Ask for other room when the content has changed."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().event(event))

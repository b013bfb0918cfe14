"""A question inside a window: nothing else is blocked while it waits for its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from .widgets import Text

#: What a button says, and what is done when it is pressed.
Answer = tuple[str, Callable[[], None]]


class Question(QFrame):
    """Shows a text with a button for each answer, and goes away when one is pressed.

    Parameters
    ----------
    parent : QWidget, optional

    Attributes
    ----------
    answered : signal
        When it has gone away, before what the answer means is done.
    buttons : list of QPushButton
        One for each answer; the last one changes nothing.
    """

    answered = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setStyleSheet("Question { border: 2px solid #c77700; border-radius: 4px; }")
        self.text = Text()
        self.buttons: list[QPushButton] = []
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        self._row = QHBoxLayout()
        self._row.addStretch()
        layout.addLayout(self._row)
        self.setVisible(False)

    def ask(self, text: str, answers: Sequence[Answer]) -> None:
        """Show a question in place of an earlier one.

        Parameters
        ----------
        text : str
        answers : sequence of (str, callable)
            The last one leaves everything as it is, and has the focus.
        """
        self._clear()
        self.text.setText(text)
        for title, action in answers:
            button = QPushButton(title)
            # Return presses a button that was chosen, never one that removes something.
            button.setAutoDefault(False)
            button.clicked.connect(lambda checked=False, action=action: self._answer(action))
            self._row.addWidget(button)
            self.buttons.append(button)
        self.setVisible(True)
        self.buttons[-1].setFocus()

    def dismiss(self) -> None:
        """Take the question away without an answer."""
        if self.buttons:
            self._clear()
            self.setVisible(False)
            self.answered.emit()

    def _answer(self, action: Callable[[], None]) -> None:
        self.dismiss()
        action()

    def _clear(self) -> None:
        for button in self.buttons:
            self._row.removeWidget(button)
            button.hide()
            button.deleteLater()
        self.buttons = []

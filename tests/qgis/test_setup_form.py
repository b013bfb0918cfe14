"""What the set-up dialog looks like: it fits small screens, and no line of a text is cut off."""

import pytest
from qgis.PyQt.QtWidgets import QApplication, QLabel

LONG = "A reason in many words, with the remedy, and /a/folder/whose/path/is/long. " * 5


@pytest.fixture
def form(qgis_app):
    """Return the dialog, without anything behind its buttons."""
    from qgis_plugin.setup.form import SetupForm

    shown = SetupForm()
    shown.show()
    yield shown
    shown.hide()
    shown.deleteLater()


def settle():
    """Let layouts inside layouts come to rest: each asks the next one out."""
    for _ in range(5):
        QApplication.processEvents()


def cut_off(form):
    """Return the texts of which lines are missing."""
    settle()
    labels = [label for label in form.findChildren(QLabel) if label.isVisible()]
    return [item.text() for item in labels if item.height() < item.heightForWidth(item.width())]


@pytest.mark.parametrize("width", [0, 700, 760, 900, 1200])
@pytest.mark.parametrize("height", [0, 450, 1500])
def test_no_line_of_a_text_is_cut_off_at_any_size(form, width, height):
    for text in ("", LONG[:100], LONG, LONG[:200]):
        form.resize(width, height)
        for label in (form.notice, form.in_use, form.what, form.status):
            label.setText(text)
            assert cut_off(form) == []
        form.question.ask(text, [("Yes", lambda: None), ("No", lambda: None)])
        assert cut_off(form) == []
        # It goes back to a size that it had when it said less.
        form.resize(width, height)
        assert cut_off(form) == []
        form.question.dismiss()
        assert cut_off(form) == []


@pytest.mark.parametrize(
    ("said", "asked"), [("The disk is full. " * 20, ""), ("Step 2 …", "It stays. " * 30)]
)
def test_the_dialog_fits_a_small_screen_whatever_it_has_to_say(form, said, asked):
    form.resize(680, 460)
    form.notice.setText("The variable names another engine. " * 5)
    form.status.setText(said)
    if asked:
        form.question.ask(asked, [("Yes", lambda: None)])
    assert cut_off(form) == []
    # A notebook of 1366 x 768 pixels, each thing one and a half times its size, with a title bar.
    assert form.height() <= 470
    assert form.width() <= 910


def test_the_newest_lines_of_the_log_are_in_view_unless_older_ones_are_read(form):
    bar = form.log.verticalScrollBar()
    for at in range(60):
        form.log.appendPlainText(f"line {at}")
    for height in (900, 470, 1000):
        form.resize(800, height)
        settle()
        assert bar.value() == bar.maximum() > 0
    bar.setValue(3)
    form.log.appendPlainText("another line")
    form.resize(800, 500)
    settle()
    assert bar.value() == 3


def test_all_is_seen_without_scrolling_where_there_is_room(form):
    form.resize(800, 1000)
    settle()
    assert form.scrolled.verticalScrollBar().maximum() == 0
    assert form.log.height() > 100

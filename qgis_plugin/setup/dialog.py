"""The dialog *Set up engine*: choose an interpreter, or let the plugin make an environment."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

from qgis.PyQt.QtWidgets import QWidget

from .. import engine
from ..environment import ENGINE_VARIABLE
from ..parameters import engine_version
from . import environments
from .environments import Made, Plan
from .form import SetupForm
from .places import base_folder, environment_of, interpreter_of, new_folder
from .stored_proxy import stored_proxy
from .work import Sizes, Work, checking, choosing, creating, measuring, removing
from .worker import Worker

# How long the end of the plugin waits for work that was told to stop.
_END_MS = 10_000
# Work that does not stop even then: a thread must not be freed while it runs.
_KEPT: list[Worker] = []


class SetupDialog(SetupForm):
    """Chooses, makes, checks and removes the engine; nothing here blocks QGIS.

    An interpreter is used only after it has passed its check, and nothing is removed unasked.

    Parameters
    ----------
    parent : QWidget, optional
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.worker: Worker | None = None
        self._title, self._said, self._closing, self._stoppable = "", "", False, True
        self._then: Callable[[], None] | None = None
        self.use_button.clicked.connect(self.use)
        self.check_button.clicked.connect(self.check)
        self.create_button.clicked.connect(self.create)
        self.remove_button.clicked.connect(self.remove)
        self.stop_button.clicked.connect(self.stop)
        self.close_box.rejected.connect(self.reject)
        self.question.answered.connect(self._show_state)
        self.device.currentIndexChanged.connect(lambda index: self._show_plan())
        self.wheels.fileChanged.connect(lambda path: self._show_plan())
        self._refresh()

    def bring_up(self) -> None:
        """Show the dialog, or bring it to the front."""
        if not self.isVisible():
            self._refresh()
        # What is in use, and why, stands at the top.
        self.scrolled.verticalScrollBar().setValue(0)
        self.show()
        self.raise_()
        self.activateWindow()

    def use(self) -> None:
        """Check the chosen interpreter, and keep it if it is fit."""
        path = self._named()
        if path:
            work = choosing(path, engine_version(), engine.interpreter(), engine.override())
            self._start("Checking the engine", work, lambda: self._switch(path))

    def check(self) -> None:
        """Show versions, device and models of the chosen interpreter; nothing is changed."""
        path = self._named() or engine.interpreter()
        if path:
            self._start("Checking the engine", checking(path, engine_version()))

    def create(self) -> None:
        """Make an environment beside those that are there, and use it once it works."""
        chosen, used = engine.chosen(), self._used()
        old = [used.folder] if used is not None else []
        old += [item.folder for item in environments.made_in(base_folder()) if not item.complete]
        if old:
            sizes: Sizes = {}
            self._start(
                "Measuring what is there",
                measuring(old, sizes),
                lambda: self._ask_to_replace(used, sizes),
            )
        elif chosen:
            self._ask(
                f"{chosen} is in use, which the plugin did not make. It stays as it is; the new"
                " environment is used in its place once it works.",
                ("Create and use the new one", lambda: self._create([])),
            )
        else:
            self._create([])

    def _ask_to_replace(self, used: Made | None, sizes: Sizes) -> None:
        lines, old = [], list(sizes)
        if used is not None:
            lines.append(
                f"The new environment is made beside the one in use, {used.folder}"
                f" ({sizes[used.folder]:.1f} GB), which is replaced only once the new one works."
            )
        rest = [f"{item} ({size:.1f} GB)" for item, size in sizes.items() if not _is(item, used)]
        if rest:
            lines.append(f"Left over from attempts that were broken off: {', '.join(rest)}.")
        lines.append("Remove the old ones then?" if len(old) > 1 else "Remove the old one then?")
        total = sum(sizes.values())
        self._ask(
            "\n".join(lines),
            (f"Create, then remove {total:.1f} GB", lambda: self._create(old)),
            ("Create, remove nothing", lambda: self._create([])),
        )

    def _create(self, old: list[Path]) -> None:
        folder = new_folder(engine_version())
        wheels = Path(self.wheels.filePath()) if self.wheels.filePath() else None
        # The login may lie in the authentication database, which only this thread can ask for.
        proxy = stored_proxy(may_ask=wheels is None)
        device, python = self.device.currentData(), self.python.filePath()
        plan = Plan(folder, python, engine_version(), device, wheels, proxy)
        work = creating(plan, engine.interpreter())
        self._start("Creating the environment", work, lambda: self._created(folder, old))

    def _created(self, folder: Path, old: list[Path]) -> None:
        self._switch(str(interpreter_of(folder)))
        if old:
            work = removing(old, self._said)
            self._start("Removing what was replaced", work, stoppable=False)

    def remove(self) -> None:
        """Ask, and then remove the selected environment that the plugin made."""
        folder = self.made.currentData()
        if folder:
            place = Path(folder)
            sizes: Sizes = {}
            self._start(
                "Measuring what is there",
                measuring([place], sizes),
                lambda: self._ask_to_remove(place, sizes[place]),
            )

    def _ask_to_remove(self, folder: Path, size: float) -> None:
        text = f"Remove {folder} ({size:.1f} GB)? Models and results lie elsewhere and stay."
        if _is(folder, self._used()):
            text += (
                " It is the engine in use: without it, ALPS works again only when another is chosen"
                " or created."
            )
        self._ask(text, (f"Remove {size:.1f} GB", lambda: self._remove(folder)))

    def _remove(self, folder: Path) -> None:
        if _is(folder, self._used()):
            # First, so that nothing is started from a folder that is half gone.
            engine.choose("")
        show = self._show_choice
        self._start("Removing the environment", removing([folder]), show, stoppable=False)

    def stop(self) -> None:
        """Stop what is going on; what was there before stays."""
        if self.worker is not None:
            self.status.setText("Stopping …")
            self.worker.cancel()

    def reject(self) -> None:
        """Close; while something is going on, ask first."""
        if self.worker is None:
            self.question.dismiss()
            super().reject()
        elif self._stoppable:
            self._ask(
                f"{self._title} is still going on. QGIS can be used meanwhile.",
                ("Stop it and close", self._stop_and_close),
                last="Go on",
            )
        else:
            # Half a removal is no use to anybody.
            self._closing = True

    def _stop_and_close(self) -> None:
        self._closing = True
        if self.worker is None:
            self.reject()
        self.stop()

    def end(self) -> None:
        """Close for good, with the plugin: work is stopped, and waited for a short while."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.disconnect()
            worker.cancel()
            if not worker.wait(_END_MS):
                worker.setParent(None)
                _KEPT.append(worker)
        self.hide()
        self.deleteLater()

    def _named(self) -> str:
        """Return the interpreter in the field, also where its environment's folder is named."""
        text = self.path.filePath().strip().strip('"')
        if not text:
            self.status.setText("Choose a Python first, or create an environment.")
        return str(interpreter_of(Path(text))) if text and Path(text).is_dir() else text

    def _used(self) -> Made | None:
        """Return the environment in use, if the plugin made it."""
        chosen = engine.chosen()
        folder = environment_of(chosen) if chosen else None
        made = environments.made_in(base_folder())
        return next((item for item in made if item.complete and item.folder == folder), None)

    def _switch(self, path: str) -> None:
        engine.choose(path)
        self.path.setFilePath(path)

    def _ask(
        self, text: str, *answers: tuple[str, Callable[[], None]], last: str = "Cancel"
    ) -> None:
        self.question.ask(text, [*answers, (last, lambda: None)])
        self._show_state()

    def _start(
        self,
        title: str,
        work: Work,
        then: Callable[[], None] | None = None,
        *,
        stoppable: bool = True,
    ) -> None:
        if self.worker is not None:
            return
        self._title, self._then, self._stoppable = title, then, stoppable
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
        # What was asked was whether to stop it.
        self.question.dismiss()
        if text:
            self.log.appendPlainText(text)
        self._said = text
        plain = escape(text).replace("\n", "<br>")
        self.status.setText(plain if successful else f"<b>{self._title}:</b> {plain}")
        if successful and self._then is not None:
            self._then()
        self._show_state()
        if self._closing and self.worker is None:
            self._closing = False
            self.reject()

    def _show_choice(self) -> None:
        self.path.setFilePath(engine.chosen())

    def _refresh(self) -> None:
        self._show_choice()
        self._show_plan()
        self._show_state()

    def _show_plan(self) -> None:
        """Say what Create would do: what, how much, from where, to where."""
        wheels = Path(self.wheels.filePath()) if self.wheels.filePath() else None
        device = self.device.currentData()
        plan = Plan(base_folder(), "", engine_version(), device, wheels)
        self.what.setText(
            f"<i>Create</i> brings alps-geo {engine_version()} and the Python packages it needs"
            f" from {escape(plan.origin())}: about {environments.SIZES_GB[device]:g} GB in a new"
            f" folder in {escape(str(base_folder()))}."
        )

    def _show_state(self) -> None:
        """Say which engine is used, and let buttons be pressed that can do something now."""
        self._show_engine()
        self._show_made()
        busy = self.worker is not None
        waits = bool(self.question.buttons)
        for button in (self.use_button, self.check_button, self.create_button):
            button.setEnabled(not busy and not waits)
        self.remove_button.setEnabled(not busy and not waits and self.made.count() > 0)
        self.made.setEnabled(self.made.count() > 0)
        self.create_button.setText("Create again…" if self._used() is not None else "Create")
        self.stop_button.setVisible(busy and self._stoppable)
        self.bar.setVisible(busy)
        if not (busy and self.bar.maximum() > 1):
            self.bar.setRange(0, 0 if busy else 1)

    def _show_engine(self) -> None:
        override, chosen = engine.override(), engine.chosen()
        self.notice.setVisible(bool(override))
        if override:
            self.notice.setText(
                f"The variable {ENGINE_VARIABLE} names {override}: that engine is used, whatever is"
                " chosen here. What is chosen here counts once QGIS is started without the"
                " variable."
            )
        if override:
            text = f"{override}  (named by {ENGINE_VARIABLE})"
        elif not chosen:
            text = "none yet: create one, or choose a Python that has alps-geo"
        elif self._used() is not None:
            text = f"{chosen}  (made by the plugin)"
        else:
            text = f"{chosen}  (chosen)"
        self.in_use.setText(f"In use: {text}")

    def _show_made(self) -> None:
        selected, used = self.made.currentData(), self._used()
        self.made.clear()
        for item in environments.made_in(base_folder()):
            parts = [f"alps-geo {item.version}" if item.complete else "broken off"]
            parts += [f"{item.size_gb:.1f} GB"] if item.size_gb else []
            parts += ["in use"] if _is(item.folder, used) else []
            self.made.addItem(f"{item.folder.name}  ({', '.join(parts)})", str(item.folder))
        if selected:
            self.made.setCurrentIndex(max(self.made.findData(selected), 0))


def _is(folder: Path, made: Made | None) -> bool:
    return made is not None and made.folder == folder

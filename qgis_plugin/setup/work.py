"""What the dialog *Set up engine* has done in its worker; standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from ..environment import ENGINE_VARIABLE
from . import environments
from .check import SetupError, check, check_fit
from .environments import Plan
from .processes import IsCancelled, Log
from .pythons import find_pythons

#: Remembers the size of each folder, in GB.
Sizes = dict[Path, float]


class Told(Protocol):
    """Who hears of the work, and may stop it."""

    log: Log
    tell_step: environments.Step
    is_cancelled: IsCancelled


#: Takes who hears of it; returns what to say in the end.
Work = Callable[[Told], str]


def checking(interpreter: str, plugin: str) -> Work:
    """Return the work that tells an engine's versions and how they fit the plugin's."""

    def work(told: Told) -> str:
        report = check(interpreter, told.is_cancelled, told.log)
        return f"{report.text()}\n{report.problem(plugin) or report.compare(plugin)}"

    return work


def choosing(interpreter: str, plugin: str, in_use: str, override: str = "") -> Work:
    """Return the work that checks an engine before it is used.

    Parameters
    ----------
    interpreter : str
    plugin : str
        The plugin's version.
    in_use : str
        What is used so far; empty for none.
    override : str
        What a variable names, which is used whatever is chosen; empty for none.
    """

    def work(told: Told) -> str:
        try:
            report = check_fit(interpreter, plugin, told.is_cancelled, told.log)
        except SetupError as error:
            stays = f"The engine in use stays {in_use}." if in_use else "No engine is chosen yet."
            raise type(error)(f"{_sentence(error)} {stays}") from error
        used = f"{interpreter} is used from now on."
        if override:
            used = f"{interpreter} is kept, but {ENGINE_VARIABLE} names {override}, which is used."
        return f"{used}\n{report.text()}\n{report.compare(plugin)}"

    return work


def creating(plan: Plan, in_use: str) -> Work:
    """Return the work that makes an environment; without a Python in the plan, finds one."""

    def work(told: Told) -> str:
        python = plan.python or next((item.path for item in find_pythons()), "")
        try:
            if not python:
                raise SetupError(
                    "No Python from 3.10 to 3.13 was found that can make environments: install one"
                    " (on Debian and Ubuntu: apt-get install python3-venv) and choose it above"
                )
            through = f", through the {plan.proxy.name}" if plan.proxy.host else ""
            told.log(f"== From {plan.origin()}{through} to {plan.folder}")
            made = Plan(plan.folder, python, plan.version, plan.device, plan.wheels, plan.proxy)
            report = environments.create(made, told.log, told.is_cancelled, told.tell_step)
        except SetupError as error:
            stays = f" The engine in use stays {in_use}." if in_use else ""
            raise type(error)(f"{_sentence(error)}{stays}") from error
        size = environments.size_gb(plan.folder)
        return (
            f"The engine is ready in {plan.folder} ({size:.1f} GB on disk)."
            f"\n{report.compare(plan.version)}"
        )

    return work


def measuring(folders: Iterable[Path], sizes: Sizes) -> Work:
    """Return the work that finds out what folders take on disk."""

    def work(told: Told) -> str:
        for folder in folders:
            sizes[folder] = environments.size_gb(folder)
        return ""

    return work


def removing(folders: Sequence[Path], before: str = "") -> Work:
    """Return the work that removes environments; what was said before is said again."""

    def work(told: Told) -> str:
        said = [before] if before else []
        for folder in folders:
            try:
                gone = environments.remove(folder)
            except SetupError as error:
                raise SetupError("\n".join([*said, str(error)])) from error
            said.append(
                f"{folder} was removed." if gone else f"{folder} is none that the plugin made."
            )
        return "\n".join(said)

    return work


def _sentence(error: SetupError) -> str:
    text = str(error)
    return text if text.endswith((".", ")")) else f"{text}."

"""What can go wrong between QGIS and the engine, as a tree of exceptions; standard library only.

* EngineError: the message is one or a few lines for the user
  + EngineMissing: there is no engine to start
  + EngineTooOld: there is one, but of a version that this plugin cannot use
  + EngineRefused: the engine runs, and says itself why it cannot do this
  + EngineCrashed: the engine ended, or spoke, in a way nobody meant
  + EngineCancelled: the user stopped it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SET_UP_HINT = "Use Plugins ▸ ALPS ▸ Set up engine… to choose or to create one."


class EngineError(Exception):
    """Base of everything that keeps the engine from giving a result."""


class EngineMissing(EngineError):
    """No interpreter is chosen, it is not there, or alps-geo is not installed in it."""


class EngineTooOld(EngineError):
    """The engine speaks another protocol, or is older than the plugin."""


class EngineRefused(EngineError):
    """The engine itself says what is wrong with the data or the settings.

    Parameters
    ----------
    message : str
        Settings and commands by their names in backquotes.
    code : str
        What kind of error it is, such as 'aoi.outside'.
    values : mapping, optional
        What the message is about.
    """

    def __init__(
        self, message: str, code: str = "", values: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.values = code, dict(values or {})


class EngineCrashed(EngineError):
    """The engine ended without a result, or is no alps-geo at all."""


class EngineCancelled(EngineError):
    """The user stopped the run."""

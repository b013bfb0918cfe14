"""What can go wrong, as a tree of exceptions; standard library only.

* AlpsGeoError
  + SettingsError: an option has a value that cannot work (exit code 2)
  + RunError: the output folder holds something else than this run (exit code 2)
  + SceneError: a scene cannot be labelled as it is
    - ReadError: a scene opens, but a part of it cannot be read
    - OutsideSceneError: the area of interest lies elsewhere
  + ReferenceDataError: reference data do not fit what they are compared with
  + ModelError: a mask model or a class model is missing, damaged or of another kind
  + OutputError: results cannot be written
  + WorkerError: workers cannot be reached, or are lost time and again
  + Cancelled: the user stopped the run (exit code 130)

Every message says what is wrong, with the value, and what would be right, on one line.
"""

from __future__ import annotations

from typing import ClassVar


class AlpsGeoError(Exception):
    """Base of all errors that a user can mend; shown as one line, without a traceback."""

    #: The exit code of the command line for this error.
    exit_code: ClassVar[int] = 1


class SettingsError(AlpsGeoError):
    """An option has a value that cannot work."""

    exit_code: ClassVar[int] = 2


class RunError(AlpsGeoError):
    """The output folder holds another run, or none where one is needed."""

    exit_code: ClassVar[int] = 2


class SceneError(AlpsGeoError):
    """A scene cannot be labelled as it is."""


class ReadError(SceneError):
    """A scene opens, but a part of it cannot be read."""


class OutsideSceneError(SceneError):
    """The area of interest touches no part of the scene."""


class ReferenceDataError(AlpsGeoError):
    """Reference data do not fit the labels they are compared with."""


class ModelError(AlpsGeoError):
    """A mask model or a class model is missing, damaged or of another kind."""


class OutputError(AlpsGeoError):
    """Results cannot be written."""


class WorkerError(AlpsGeoError):
    """Workers cannot be reached, or are lost time and again."""


class Cancelled(AlpsGeoError):
    """The user stopped the run; what was finished is kept."""

    exit_code: ClassVar[int] = 130

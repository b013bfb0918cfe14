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
  + LibraryError: GDAL or PROJ do not work as they are installed
  + Cancelled: the user stopped the run (exit code 130)

Every message says what is wrong, with the value, and what would be right, on one line. It is the
same for all who show it: a setting stands there by its name in backquotes, `n_classes` or
`model=auto`, a command by its call, `classify()` or `download(sam-vit-b)`; the command line and the
QGIS plugin put their own words in these places.
"""

from __future__ import annotations

from typing import ClassVar

from ._redaction import redact, redact_values


class AlpsGeoError(Exception):
    """Base of all errors that a user can mend; shown as one line, without a traceback.

    Parameters
    ----------
    message : str
        Settings and commands by their names in backquotes.
    code : str
        Tells programs what is wrong, such as 'aoi.outside'; the class's own if not given. A code
        keeps its meaning, messages may be worded anew.
    **values
        What the message is about, as values that JSON has: `path`, `setting`, `found`, `allowed`.

    Attributes
    ----------
    code : str
    values : dict
    """

    #: The exit code of the command line for this error.
    exit_code: ClassVar[int] = 1
    #: What kind of error this is, for programs, where nothing more particular is said.
    default_code: ClassVar[str] = "error"

    def __init__(self, message: str = "", *, code: str = "", **values: object) -> None:
        # Whoever shows, logs or stores an error shows no password.
        super().__init__(redact(message))
        self.code = code or self.default_code
        self.values = redact_values(values)


class SettingsError(AlpsGeoError):
    """An option has a value that cannot work."""

    default_code: ClassVar[str] = "settings"
    exit_code: ClassVar[int] = 2


class RunError(AlpsGeoError):
    """The output folder holds another run, or none where one is needed."""

    default_code: ClassVar[str] = "run"
    exit_code: ClassVar[int] = 2


class SceneError(AlpsGeoError):
    """A scene cannot be labelled as it is."""

    default_code: ClassVar[str] = "scene"


class ReadError(SceneError):
    """A scene opens, but a part of it cannot be read."""

    default_code: ClassVar[str] = "scene.read"


class OutsideSceneError(SceneError):
    """The area of interest touches no part of the scene."""

    default_code: ClassVar[str] = "aoi.outside"


class ReferenceDataError(AlpsGeoError):
    """Reference data do not fit the labels they are compared with."""

    default_code: ClassVar[str] = "reference"


class ModelError(AlpsGeoError):
    """A mask model or a class model is missing, damaged or of another kind."""

    default_code: ClassVar[str] = "model"


class OutputError(AlpsGeoError):
    """Results cannot be written."""

    default_code: ClassVar[str] = "output"


class WorkerError(AlpsGeoError):
    """Workers cannot be reached, or are lost time and again."""

    default_code: ClassVar[str] = "worker"


class LibraryError(AlpsGeoError):
    """GDAL or PROJ do not work as they are installed."""

    default_code: ClassVar[str] = "library"


class Cancelled(AlpsGeoError):
    """The user stopped the run; what was finished is kept."""

    default_code: ClassVar[str] = "cancelled"
    exit_code: ClassVar[int] = 130

"""The run folder: where a run keeps what it needs, and what must agree for it to go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from .._files import replacing
from ..errors import OutputError, RunError
from ..settings import all_settings, json_key, option_name

#: Version of the run folder's layout; another one is refused.
FORMAT = 1


class RunFolder:
    """The folder `run` of an output folder.

    Parameters
    ----------
    out : Path
        The output folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out / "run"

    @property
    def manifest_path(self) -> Path:
        """Where the facts that identify the run are."""
        return self.path / "manifest.json"

    def scene_folder(self, stem: str) -> Path:
        """Return the folder of one scene."""
        return self.path / stem

    def start(self, manifest: dict[str, Any], *, overwrite: bool) -> bool:
        """Make the folder ready for a run, or for going on with it.

        Parameters
        ----------
        manifest : dict
            What identifies the run; JSON values only.
        overwrite : bool
            Remove what an earlier run left.

        Returns
        -------
        bool
            True if the folder holds this very run already, finished or not.

        Raises
        ------
        RunError
            If the folder holds another run, or files that no run made.
        OutputError
            If the folder cannot be written.
        """
        wanted = {"format": FORMAT, **json.loads(json.dumps(manifest))}
        if self.manifest_path.exists() and not overwrite:
            difference = _difference(self.read_manifest(), wanted)
            if difference:
                raise RunError(
                    f"{self.out} holds another run ({difference}); choose another folder,"
                    " or `overwrite`"
                )
            self.remove_leftovers()
            return True
        self._prepare(overwrite=overwrite)
        with replacing(self.manifest_path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        return False

    def _prepare(self, *, overwrite: bool) -> None:
        try:
            if self.out.exists() and not self.out.is_dir():
                raise RunError(f"{self.out} is a file; name a folder for the results")
            self.remove_leftovers()
            if overwrite and self.manifest_path.exists():
                self._empty()
            elif self._has_files():
                raise RunError(
                    f"{self.out} holds files that are not a run of alps-geo; name an empty or a"
                    " new folder"
                )
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.out}: {error.strerror}") from error

    def _has_files(self) -> bool:
        # An empty folder `run` is what a run that was killed at its very beginning leaves.
        found = [
            item for folder in (self.out, self.path) if folder.exists() for item in folder.iterdir()
        ]
        return any(item != self.path for item in found)

    def _empty(self) -> None:
        """Remove what an earlier run left; if this is stopped half-way, it can be done again."""
        self.results_outdated = True
        # What is about to be removed cannot be finished.
        self.pending_path.unlink(missing_ok=True)
        for item in self.path.iterdir():
            if item.is_dir():
                shutil.rmtree(item)
            elif item not in (self.manifest_path, self._outdated_path):
                item.unlink()

    @property
    def _outdated_path(self) -> Path:
        return self.path / "results-outdated"

    @property
    def pending_path(self) -> Path:
        """Where it is written what results are to become, while they take their places."""
        return self.path / "pending.json"

    @property
    def undo_path(self) -> Path:
        """Where it is written what results were before the last change of classes."""
        return self.path / "undo.json"

    @property
    def is_whole(self) -> bool:
        """Whether all results are of one command."""
        return not self.results_outdated and not self.pending_path.exists()

    @property
    def results_outdated(self) -> bool:
        """True from when a run begins anew until all its results are there."""
        return self._outdated_path.exists()

    @results_outdated.setter
    def results_outdated(self, outdated: bool) -> None:
        try:
            if outdated:
                self._outdated_path.touch()
            else:
                self._outdated_path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.path}: {error.strerror}") from error

    def require_whole(self) -> None:
        """Raise `RunError` while some results are of one command and some of another."""
        if not self.is_whole:
            raise RunError(
                f"the results in {self.out} were not all written: a command is at work there, or"
                " was stopped; give that command again first"
            )

    def remove_leftovers(self, *, tiles: bool = True) -> None:
        """Remove the beginnings of files that a killed run left; of tiles, too, if so asked."""
        folders = [self.out, self.path, *self.path.glob("*")]
        folders += self.path.glob("*/tiles") if tiles else ()
        for folder in folders:
            for leftover in folder.glob(f".*.{'[0-9a-f]' * 8}.part*") if folder.is_dir() else ():
                leftover.unlink(missing_ok=True)

    def read_manifest(self) -> dict[str, Any]:
        """Return what identifies the run in the folder.

        Raises
        ------
        RunError
            If there is no run, or its manifest is damaged.
        """
        try:
            manifest: dict[str, Any] = json.loads(self.manifest_path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(
                f"{self.out} holds no run of alps-geo: no {self.manifest_path}"
            ) from error
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.manifest_path} cannot be read: {error}; `overwrite` it"
            ) from error
        return manifest


def _difference(present: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> str:
    """Name the first thing in which two manifests differ, empty if there is none."""
    for key in [*wanted, *(key for key in present if key not in wanted)]:
        old, new = present.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = (
                _other_scenes(old, new)
                if key == "scenes"
                else _difference(old, new, f"{prefix}{key} ")
            )
            if inner:
                return inner
        elif old != new:
            return f"{_in_words(f'{prefix}{key}')} is {old} there, and {new} now"
    return ""


def _in_words(place: str) -> str:
    """Name a place in a manifest: settings by their names, all else by the words of its keys."""
    names = {
        f"settings {json_key(part)} {json_key(item)}": f"`{option_name(item)}`"
        for part, item in all_settings()
    }
    return names.get(place, place.replace("_", " "))


def _other_scenes(present: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Say of which other scenes a run is, empty if it is of these."""
    if present.keys() != wanted.keys():
        return f"of {', '.join(present)}, not of {', '.join(wanted)}"
    changed = [stem for stem in wanted if present[stem] != wanted[stem]]
    return f"of another {changed[0]}: the image, or the area, is not the same" if changed else ""

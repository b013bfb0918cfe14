"""Whether a run that is there is the one that is asked for, with all of its results."""

from __future__ import annotations

from ..errors import RunError
from ..settings import Settings
from .folder import RunFolder
from .record import describe_settings, read_record
from .run import Run


def is_finished(run: Run, settings: Settings, checksum: str | None) -> bool:
    """Return whether all results of a run are there.

    Parameters
    ----------
    run : Run
    settings : Settings
    checksum : str or None
        Of the class model's file that they name, as it is now.

    Raises
    ------
    RunError
        If they were made with other classes or outputs than the settings ask for, or the class
        model that these name has changed.
    """
    if not run.record_path.exists() or not RunFolder(run.folder).is_whole:
        return False
    record = read_record(run.record_path)
    there, now = record["settings"], describe_settings(settings)
    # Runs of earlier versions have no entry for what was not to be chosen then.
    usual = describe_settings(Settings())
    for part in ("classes", "outputs"):
        for name, value in now[part].items():
            if name == "report":
                continue  # tells of the results, and is none of them
            known = {**usual[part], **there[part]}
            if known[name] != value:
                remedy = "`classify()`" if part == "classes" else "`overwrite`"
                raise RunError(
                    f"{run.folder} holds this run with `{name}` {known[name]}, not"
                    f" {value}; use {remedy}, or another folder",
                    code="run.other_settings",
                    path=str(run.folder),
                    setting=name,
                    found=known[name],
                    wanted=value,
                )
    # Runs of earlier versions do not know what was in the class model.
    if record.get("class_model", checksum) != checksum:
        given = settings.classes.file
        raise RunError(
            f"{run.folder} holds this run with the classes that {given} had then, and it has"
            f" changed; use `classify()` with `classes={given}`, or another folder"
        )
    return all(path.exists() for path in (*run.label_paths, *run.package_paths))

"""An engine that notes when it starts and ends, so that what QGIS adds can be told from its work.

Two runs in a row differ by seconds on a machine that has other things to do; this does not.
"""

from pathlib import Path


def make_timed(folder, engine):
    """Write a program that is the engine and notes its times; return its path."""
    program = folder / "alps-geo" / "bin" / "python"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(
        "#!/bin/sh\n"
        f'start=$(date +%s.%N)\n"{engine}" "$@"\ncode=$?\n'
        f'echo "$start $(date +%s.%N)" >> "{folder / "times"}"\nexit $code\n'
    )
    program.chmod(0o755)
    return str(program)


def last_run(folder):
    """Return the seconds that the engine ran when it was last used."""
    start, end = Path(folder / "times").read_text().splitlines()[-1].split()
    return float(end) - float(start)

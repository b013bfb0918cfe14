"""`python -m alps_geo.cli`: for programs that know an interpreter, not its scripts."""

from .main import main

main()

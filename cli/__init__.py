"""The command line of alps-geo, installed as `alps_geo.cli`: one module per command."""

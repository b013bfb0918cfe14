"""tmp"""

import click

models = click.Command("models")

"""Placeholder for `alps-geo models`, until the commands for weights are there."""

import click

models = click.Command("models")

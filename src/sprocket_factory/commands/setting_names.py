"""Are the variables known that mean to set something? What nobody reads would leave a default in force in silence."""

import os
from collections.abc import Iterator
from dataclasses import fields

import click

from sprocket_factory.errors import Unusable, nearest
from sprocket_factory.settings import ENVIRONMENT_PREFIX, Settings

HINT = "docs/settings.md lists them all."


def check_setting_names(root: click.Command) -> None:
    """Raise Unusable, which names each, where the environment or .env has variables of ours that nobody reads."""
    if unknown := list(unknown_settings(root)):
        raise Unusable(" ".join(unknown), hint=HINT)


def unknown_settings(root: click.Command) -> Iterator[str]:
    """Give a sentence for each SPROCKET_FACTORY_* that no setting and no flag below the root is called."""
    settings = {f"{ENVIRONMENT_PREFIX}_{setting.name.upper()}" for setting in fields(Settings)}
    of_commands = set(_variables(root, ENVIRONMENT_PREFIX))
    for name in sorted(os.environ):
        if name.startswith(f"{ENVIRONMENT_PREFIX}_") and name not in settings | of_commands:
            yield f"There is no setting {name}.{nearest(name, settings)}"


def _variables(command: click.Command, prefix: str) -> Iterator[str]:
    """Give the variables that stand for the flags of a command, and of those below it."""
    options = [one for one in command.params if isinstance(one, click.Option) and one.allow_from_autoenv]
    yield from (f"{prefix}_{option.name}".upper() for option in options)
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _variables(below, f"{prefix}_{name}")

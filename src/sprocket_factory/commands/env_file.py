"""The file `.env` in the folder where the program starts, and what it says when it is read again."""

import os
import sys

import click
from dotenv import dotenv_values, load_dotenv

from sprocket_factory.settings import ENVIRONMENT_PREFIX

FILE = ".env"

_environment = frozenset(os.environ)
"""What was in the environment before the file was read: it outdoes the file."""


def read_env_file() -> None:
    """Put what the file says into the environment, unless that names it already."""
    try:
        load_dotenv(FILE)
    except UnicodeDecodeError as error:
        click.echo(f"Error: The file {FILE} is not in UTF-8: {error}.", err=True)
        sys.exit(1)


def is_in_environment(setting: str) -> bool:
    """Return whether the environment names a setting, so that the file does not count."""
    return _variable(setting) in _environment


def read_again(setting: str) -> str | None:
    """Return what the file says of a setting now; None where it says nothing. Raises OSError or UnicodeDecodeError."""
    return dotenv_values(FILE).get(_variable(setting))


def _variable(setting: str) -> str:
    return f"{ENVIRONMENT_PREFIX}_{setting.upper()}"

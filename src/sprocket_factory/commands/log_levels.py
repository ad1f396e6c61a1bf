"""SIGHUP: the log levels are read again, so that a running service can be listened to more closely."""

import click
from click.core import ParameterSource

from sprocket_factory.commands.env_file import is_in_environment, read_again
from sprocket_factory.errors import Unusable
from sprocket_factory.observe import log
from sprocket_factory.observe_logs import set_levels
from sprocket_factory.settings import Settings, describe

NAMES = ("log_level", "log_levels")


def names_fixed() -> frozenset[str]:
    """Return those of the two settings that the command line or the environment names: they outdo the file .env."""
    context = click.get_current_context()
    return frozenset(
        name
        for name in NAMES
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE or is_in_environment(name)
    )


def reload_levels(settings: Settings, fixed: frozenset[str]) -> None:
    """Take the levels that .env has now. What is wrong with them is told, and they stay as they were."""
    try:
        level, levels = (
            getattr(settings, name) if name in fixed else (read_again(name) or describe(name)[0]) for name in NAMES
        )
        set_levels(level, levels)
    except (Unusable, OSError, UnicodeDecodeError) as error:
        log.error("the log levels stay as they were", reason=str(error))
    else:
        log.warning(
            "the log levels were read again", log_level=level, log_levels=levels, not_from_env_file=sorted(fixed)
        )

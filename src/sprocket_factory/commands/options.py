"""Flags that come from the table of settings, so that a setting is described once."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from sprocket_factory.errors import Fault, Refusal
from sprocket_factory.settings import ENVIRONMENT_PREFIX, describe

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(*names: str) -> Callable[[F], F]:
    """Give a command one flag for each of these settings, each with its environment variable."""

    def decorate(function: F) -> F:
        for name in reversed(names):
            default, rules = describe(name)
            function = click.option(
                f"--{name.replace('_', '-')}",
                default=default,
                is_flag=default is False,
                type=_type(default, rules),
                help=rules["help"],
                envvar=f"{ENVIRONMENT_PREFIX}_{name.upper()}",
                show_default=True,
                show_envvar=True,
            )(function)
        return function

    return decorate


def _type(default: object, rules: Mapping[str, Any]) -> click.ParamType[Any] | type:
    if rules["one_of"]:
        return click.Choice(rules["one_of"])
    if isinstance(default, int) and not isinstance(default, bool):
        return click.IntRange(rules["least"], rules["most"])
    return type(default)


@contextmanager
def refusals_told() -> Iterator[None]:
    """End the command with a refusal's sentence, and one line for each fault, instead of a traceback."""
    try:
        yield
    except Refusal as refusal:
        lines = [str(refusal)]
        if [str(refusal)] != [fault.detail for fault in refusal.faults]:
            lines += [_line(fault) for fault in refusal.faults]
        if more := refusal.faults_total - len(refusal.faults):
            lines.append(f"  and {more:,} more")
        raise click.ClickException("\n".join(lines)) from refusal


def _line(fault: Fault) -> str:
    place = " ".join(part for part in (f"row {fault.row}" if fault.row else "", fault.pointer) if part)
    return f"  {place}: {fault.detail}"

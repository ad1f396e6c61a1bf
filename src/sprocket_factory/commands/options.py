"""Flags that come from the table of settings, so that a setting is described once."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import click

from sprocket_factory.commands.setting_names import check_setting_names
from sprocket_factory.errors import Fault, Refusal
from sprocket_factory.settings import ENVIRONMENT_PREFIX, as_text, describe

F = TypeVar("F", bound=Callable[..., Any])

OFF = "off"

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class Period(click.ParamType[int]):
    """A length of time as one types it, as 90d. It becomes seconds; `off`, where that may be said, becomes 0."""

    name = "period"

    def __init__(self, *examples: str, may_be_off: bool = False) -> None:
        self.may_be_off = may_be_off
        self.examples = f"{', '.join(examples[:-1])} or {examples[-1]}"
        self.units = "".join(example[-1] for example in examples)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds. What is no text is seconds already."""
        if isinstance(value, int):
            return value
        if self.may_be_off and value == OFF:
            return 0
        match = re.fullmatch(rf"([1-9][0-9]{{0,4}})([{self.units}])", value)
        if match is None:
            self.fail(f"{value!r} is no period. Write {self.examples}.", param, ctx)
        return int(match[1]) * SECONDS[match[2]]


def settings_options(*names: str, even_misspelt: bool = False) -> Callable[[F], F]:
    """Give a command one flag for each of these settings, each with its environment variable.

    It does not run where a variable means to set something that there is not, unless it is to run even so.
    """

    def decorate(function: F) -> F:
        if not even_misspelt:
            function = _only_well_spelt(function)
        for name in reversed(names):
            default, rules = describe(name)
            function = click.option(
                f"--{name.replace('_', '-')}",
                default=default,
                is_flag=default is False,
                type=_type(default, rules),
                help=rules["help"],
                envvar=f"{ENVIRONMENT_PREFIX}_{name.upper()}",
                show_default=as_text(name) if rules["is_period"] else True,
                show_envvar=True,
            )(function)
        return function

    return decorate


def _only_well_spelt(function: F) -> F:
    @wraps(function)
    def run(**flags: Any) -> Any:
        with refusals_told():
            check_setting_names(click.get_current_context().find_root().command)
        return function(**flags)

    return cast("F", run)


def _type(default: object, rules: Mapping[str, Any]) -> click.ParamType[Any] | type:
    if rules["one_of"]:
        return click.Choice(rules["one_of"])
    if rules["is_period"]:
        return Period("90s", "15m", "1h", "1d", may_be_off=True)
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

"""Log lines: what each says, at which level, and how it gets out.

A line is made by structlog: coloured text on a terminal, else one JSON object. Whatever it repeats of a caller's is
escaped, so that one line is one event; what looks like a credential is left out, wherever it stands.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from traceback import format_exception
from typing import Any

import msgspec
import structlog
from structlog.dev import ConsoleRenderer, plain_traceback

from sprocket_factory.errors import Unusable
from sprocket_factory.observe_lines import Lines

Facts = MutableMapping[str, Any]

OURS = "sprocket_factory"

LEVELS = ("debug", "info", "warning", "error", "critical")

FORMATS = ("auto", "json", "console")

now_answered: ContextVar[Facts | None] = ContextVar("now_answered", default=None)
"""The state of the request that is being answered, which the line is about."""

_SECRET = re.compile(rb"(?<![A-Za-z0-9_-])(sf[ks]_|eyJ[A-Za-z0-9_-]{8,}\.)[A-Za-z0-9_.-]{8,}")
"""A key of ours, what is in the cookie of a session, or a token (JWT)."""

_encoder = msgspec.json.Encoder(enc_hook=repr)


class RequestLine(msgspec.Struct, omit_defaults=True, gc=False):
    """The line of one request. There are so many that each is put together by what makes JSON of it."""

    time: datetime
    level: str
    logger: str
    event: str
    method: str
    route: str
    status: int
    ms: float
    bytes: int
    request_id: str
    who: str = ""
    broken_off: bool = False
    problem: str = ""
    reason: str = ""
    cause: str = ""
    trace_id: str = ""


def _renderer(*, colors: bool) -> ConsoleRenderer:
    return ConsoleRenderer(colors=colors, sort_keys=False, pad_event_to=0, exception_formatter=plain_traceback)


class _Form:
    """What a line looks like."""

    is_json = False
    render_text = _renderer(colors=False)


_form = _Form()


class Log:
    """One logger: structlog's, for the level that is in force."""

    debug: Callable[..., Any]
    info: Callable[..., Any]
    warning: Callable[..., Any]
    error: Callable[..., Any]
    critical: Callable[..., Any]
    exception: Callable[..., Any]
    least: int
    """The place of its level among the LEVELS."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.set_level("warning")

    def set_level(self, level: str) -> None:
        """Say nothing below this level from now on, and spend nothing on it."""
        self.least = LEVELS.index(level)
        wrapper = structlog.make_filtering_bound_logger(level)
        logger = structlog.wrap_logger(_Out(), processors=[_processed], wrapper_class=wrapper).bind(logger=self.name)
        self.debug, self.info, self.warning = logger.debug, logger.info, logger.warning
        self.error, self.critical, self.exception = logger.error, logger.critical, logger.exception


_logs: dict[str, Log] = {}

_levelled: set[str] = set()
"""Other libraries' loggers that were given a level of their own."""


def get_log(name: str) -> Log:
    """Return our logger of this name."""
    return _logs.setdefault(name, Log(name))


def configure_logging(level: str, levels: str = "", format_: str = "auto") -> None:
    """Write lines of this level and above to standard error, in this one of the FORMATS.

    Other libraries' lines go the same way, from warnings on. `levels` gives single loggers, and those below them, a
    level of their own: `name=level,name=level`.

    Raises:
        Unusable: `levels` is not written like that.
    """
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    if format_ == "auto":
        format_ = "console" if on_terminal else "json"
    _form.is_json = format_ == "json"
    _form.render_text = _renderer(colors=on_terminal)
    set_levels(level, levels)
    root = logging.getLogger()
    if not any(isinstance(handler, _Bridge) for handler in root.handlers):
        root.addHandler(_Bridge())
    logging.captureWarnings(capture=True)


def set_levels(level: str, levels: str = "") -> None:
    """Change the levels, as configure_logging sets them. Raises Unusable and changes nothing."""
    if level not in LEVELS:
        raise Unusable(f"{level!r} is no level.", hint=f"Levels are {', '.join(LEVELS)}.")
    named = read_levels(levels)
    for log in _logs.values():
        over = [name for name in named if log.name == name or log.name.startswith(f"{name}.")]
        log.set_level(named[max(over, key=len)] if over else level)
    logging.getLogger().setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    for name in _levelled - named.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    _levelled.clear()
    for name, own in named.items():
        logging.getLogger(name).setLevel(own.upper())
        _levelled.add(name)


def read_levels(levels: str) -> dict[str, str]:
    """Return the level of each logger that has its own. Raises Unusable."""
    named = {}
    for part in filter(None, levels.replace(" ", "").split(",")):
        name, _, level = part.partition("=")
        if not name or level.lower() not in LEVELS:
            raise Unusable(
                f"--log-levels is not read: {part!r}.",
                hint=f"Write {OURS}.access=debug; levels are {', '.join(LEVELS)}.",
            )
        named[name] = level.lower()
    return named


@contextmanager
def written_behind(*, is_shared: bool) -> Iterator[None]:
    """Let a thread write the lines, so that nobody waits for whoever reads them. Others may write there, too."""
    lines.begin_behind(lambda lost: get_log(OURS).warning("log lines were lost", lines=lost), is_shared=is_shared)
    try:
        yield
    finally:
        lines.end_behind()


class _Out:
    """What structlog gives a line to when it is made."""

    def write(self, line: bytes) -> None:
        lines.write(line)

    debug = info = warning = error = critical = write


class _Bridge(logging.Handler):
    """Takes the lines of libraries that use the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one of theirs as one of ours."""
        try:
            facts = {"logger": record.name, "event": record.getMessage(), "exc_info": record.exc_info}
            lines.write(compose(record.levelname.lower(), facts))
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end what it tells of
            self.handleError(record)


def _processed(_logger: object, level: str, facts: Facts) -> bytes:
    """Return a line as it goes out. A processor of structlog's, the only one."""
    return compose(level, facts)


def compose(level: str, facts: Facts) -> bytes:
    """Return a line as it goes out; `facts` name its logger and its event."""
    line = {
        "time": datetime.now(UTC),
        "level": level,
        "logger": facts.pop("logger"),
        "event": facts.pop("event"),
        **facts,
    }
    request = now_answered.get()
    if request is not None:
        line["request_id"] = request["request_id"]
        if "trace_id" in request:
            line["trace_id"] = request["trace_id"]
    if "exc_info" in line:
        _tell_exception(line)
    return _without_secrets(_as_json(line) if _form.is_json else _as_text(line)) + b"\n"


def encode_requests(requests: list[RequestLine]) -> bytes:
    """Return the lines of requests."""
    if not _form.is_json:
        told = [
            {name: value for name, value in msgspec.structs.asdict(one).items() if value is not False and value != ""}
            for one in requests
        ]
        return b"".join(_without_secrets(_as_text(line)) + b"\n" for line in told)
    try:
        text = _encoder.encode_lines(requests)
    except ValueError:  # a lone surrogate
        text = b"".join(_as_json(msgspec.structs.asdict(one)) + b"\n" for one in requests)
    if not text.isascii() or b"\x7f" in text:
        text = b"".join(_plain(line) + b"\n" for line in text.splitlines())
    return _without_secrets(text)


lines = Lines(encode_requests)
"""Where they go."""


def _without_secrets(text: bytes) -> bytes:
    # Nearly no line has what a secret begins with, and the pattern takes its time to find that out.
    may_have_one = b"sfk_" in text or b"sfs_" in text or b"eyJ" in text
    return _SECRET.sub(rb"\1...", text) if may_have_one else text


def _tell_exception(line: Facts) -> None:
    error = line.pop("exc_info")
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if error is not None:
        line["exception"] = "".join(format_exception(error)).rstrip()


def _as_json(line: Facts) -> bytes:
    try:
        text = _encoder.encode(line)
    except (ValueError, TypeError, RecursionError):  # a lone surrogate, a whole number of more than 64 bits, ...
        text = _encoder.encode({name: printable(str(value)) for name, value in line.items()})
    return text if text.isascii() and b"\x7f" not in text else _plain(text)


def _plain(text: bytes) -> bytes:
    """Return JSON without what it lets stand, and what may still move a cursor, or turn the order of what is read."""
    return "".join(_escaped(letter, json=True) for letter in text.decode()).encode()


def _as_text(line: Facts) -> bytes:
    for name, value in line.items():
        if name == "exception":
            # Each of its lines begins with a bar, as no other does.
            line[name] = "\n".join(f"  | {printable(part)}" for part in value.split("\n"))
        elif isinstance(value, str):
            line[name] = printable(value)
        elif not isinstance(value, int | float | None | datetime):
            line[name] = printable(repr(value))
    line["timestamp"] = line.pop("time").astimezone().strftime("%H:%M:%S.%f")[:-3]
    return str(_form.render_text(None, line["level"], line)).encode()


def printable(text: str) -> str:
    """Return text without anything that a terminal or a reader would take for more than letters."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(letter: str, *, json: bool = False) -> str:
    if letter.isprintable():
        return letter
    if json and ord(letter) > 0xFFFF:  # noqa: PLR2004 - the end of what \u reaches
        return "".join(f"\\u{int.from_bytes(pair, 'big'):04x}" for pair in _halves(letter))
    return f"\\u{ord(letter):04x}" if ord(letter) <= 0xFFFF else f"\\U{ord(letter):08x}"  # noqa: PLR2004 - as above


def _halves(letter: str) -> Iterator[bytes]:
    pair = letter.encode("utf-16-be")
    yield pair[:2]
    yield pair[2:]

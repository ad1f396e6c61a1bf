"""PostgreSQL's own programs, which dump and restore a database: where they are, and how they find a server."""

import asyncio
import os
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from sprocket_factory.database import ServerPlace
from sprocket_factory.errors import Unusable

NEEDED = ("pg_dump", "pg_restore", "psql")

OF_THE_DRIVER = frozenset({
    "host", "port", "dbname", "database", "user", "passfile", "sslmode", "sslcert", "sslkey", "sslrootcert",
    "sslnegotiation", "sslcrl", "sslpassword", "ssl_min_protocol_version", "ssl_max_protocol_version",
    "target_session_attrs", "krbsrvname", "gsslib", "service",
})  # fmt: skip
"""What an address may say of the connection. The driver hands anything else to the server, as a setting there."""

OTHER_NAMES = {"database": "dbname"}
"""What the driver calls otherwise than PostgreSQL's programs."""

MAX_COMPLAINT = 500


class Address(NamedTuple):
    """A server as PostgreSQL's programs are told of it: what everybody may see, and what stands in the environment."""

    url: str
    environment: Mapping[str, str]


def address_for_programs(place: ServerPlace) -> Address:
    """Return the server's address without its password: what stands on a command line everybody can read."""
    parts = urlsplit(place.url)
    user, at, hosts = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    password = place.password or asked.pop("password", "") or unquote(password)
    kept = {OTHER_NAMES.get(key, key): value for key, value in asked.items() if key in OF_THE_DRIVER}
    options = [
        asked[key] if key == "options" else _option(key, asked[key]) for key in asked if key not in OF_THE_DRIVER
    ]
    environment = {"PGAPPNAME": "sprocket-factory backup", "PGCONNECT_TIMEOUT": "10"}
    if password:
        environment["PGPASSWORD"] = password
    if options:
        environment["PGOPTIONS"] = " ".join(options)
    query = urlencode(kept, quote_via=quote, safe="/,:")
    return Address(urlunsplit(("postgresql", f"{name}{at}{hosts}", parts.path, query, "")), environment)


def _option(name: str, value: str) -> str:
    escaped = re.sub(r"([\\\s])", r"\\\1", value)
    return f"-c {name}={escaped}"


def find_programs(folder: str) -> Mapping[str, str]:
    """Return where the programs are: in this folder, or on the PATH where none is named. Raises Unusable."""
    found = {name: shutil.which(name, path=folder or None) for name in NEEDED}
    if missing := [name for name in NEEDED if found[name] is None]:
        raise Unusable(
            f"{', '.join(missing)} cannot be found {f'in {folder}' if folder else 'on the PATH'}.",
            hint="Install PostgreSQL's client programs (postgresql-client), or name their folder with"
            " --postgresql-programs.",
        )
    return {name: path for name, path in found.items() if path}


async def check_version(program: str, server: int) -> None:
    """Raise Unusable where the program is older than a server of this major version, which it could not dump whole."""
    async with running(program, "--version", stdout=PIPE) as process:
        said, _ = await process.communicate()
    number = re.search(rb"\) (\d+)", said)
    if number is None or int(number[1]) < server:
        raise Unusable(
            f"{program} is of version {number[1].decode() if number else 'unknown'}, and the server of {server}.",
            hint=f"Install the client programs of PostgreSQL {server} or newer, and name their folder with"
            " --postgresql-programs.",
        )


@asynccontextmanager
async def running(
    program: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    stdin: int = DEVNULL,
    stdout: int = DEVNULL,
) -> AsyncIterator[Process]:
    """Run a program; it does not outlive the block. What it complains of is read by `complaint`."""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=stdin,
        stdout=stdout,
        stderr=PIPE,
        env={**os.environ, "LC_ALL": "C", **(environment or {})},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def output_of(process: Process) -> tuple[asyncio.StreamReader, asyncio.StreamReader]:
    """Return what a process says and what it complains of. Both have to be pipes."""
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("The process was not started with pipes.")
    return process.stdout, process.stderr


def complaint(program: str, said: bytes) -> str:
    """Return what a program said when it failed, as a part of a sentence."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    name = os.path.basename(program)  # noqa: PTH119 - it is text
    text = "; ".join(line.removeprefix(f"{name}: ").removeprefix("error: ") for line in lines) or "it said nothing"
    return f"{name} failed: {text[:MAX_COMPLAINT].rstrip('.')}."

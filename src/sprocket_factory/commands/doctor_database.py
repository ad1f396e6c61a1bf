"""The doctor on the database: does it open, is it sound, and does its server keep what it is given?"""

from collections.abc import Iterator
from pathlib import Path

import uvloop

from sprocket_factory.commands.doctor_finding import Finding, note, ok, wrong
from sprocket_factory.commands.doctor_machine import database_file
from sprocket_factory.commands.opening import place_of
from sprocket_factory.database.addresses import is_postgresql
from sprocket_factory.database.backup import engine_of, look_into
from sprocket_factory.database.migrations import missing_migrations
from sprocket_factory.settings import Settings

MAX_WAL_BYTES = 128 * 1024 * 1024
"""Twice of what the log is cut to when nobody reads old pages."""

OLDEST_SERVER = 14

MAX_CLOCK_SECONDS = 2.0

MUST_BE_ON = {
    "fsync": "A power cut would destroy the database.",
    "full_page_writes": "A power cut could tear pages.",
    "synchronous_commit": "What is acknowledged could be lost with the next crash.",
}


def look_at_database(settings: Settings) -> list[Finding]:
    """Find out whether the database opens, is sound, and keeps what it is given."""
    return uvloop.run(_look_at_database(settings))


async def _look_at_database(settings: Settings) -> list[Finding]:
    file = database_file(settings)
    if file is not None and not file.exists():
        if settings.must_exist:
            return [wrong(f"There is no database at {file}.", "Check --database-url, or restore a backup.")]
        return [note(f"There is no database at {file} yet.", "The first start makes it.")]
    found = await _look_into(settings)
    return found + (await _look_at_server(settings) if is_postgresql(settings.database_url) else [])


async def _look_into(settings: Settings) -> list[Finding]:
    condition = await look_into(place_of(settings), quickly=True)
    if condition.faults:
        return [
            wrong(fault, "Restore a backup with `sprocket-factory restore`, unless it says otherwise.")
            for fault in condition.faults
        ]
    findings = [ok(f"{condition.contents}")]
    if older := missing_migrations(engine_of(settings.database_url), condition.contents.schema):
        findings.append(note(f"Its schema lacks {len(older)} migrations.", "The next start applies them."))
    file = database_file(settings)
    if file is not None:
        findings += _look_at_log(Path(f"{file}-wal"))
    return findings


def _look_at_log(log: Path) -> Iterator[Finding]:
    size = log.stat().st_size if log.exists() else 0
    if size > MAX_WAL_BYTES:
        yield wrong(
            f"{log} has grown to {size / 1e6:,.0f} MB.",
            "Somebody holds it back: a long export or another program that reads the file. Restart the service.",
        )


async def _look_at_server(settings: Settings) -> list[Finding]:
    from sprocket_factory.database.checking_postgresql import describe_server  # noqa: PLC0415 - only the engine in use

    server = await describe_server(place_of(settings))
    findings = [
        wrong(f"{name} is off on the server.", reason)
        for name, reason in MUST_BE_ON.items()
        if server.settings[name] == "off"
    ]
    if server.version < OLDEST_SERVER:
        findings.append(
            wrong(f"The server is PostgreSQL {server.version}.", f"{OLDEST_SERVER} is the oldest that is known to do.")
        )
    if server.is_standby:
        findings.append(wrong("The server is a standby: nothing can be written to it.", "Name the primary."))
    if server.settings["server_encoding"] != "UTF8":
        findings.append(
            wrong(f"The database is encoded in {server.settings['server_encoding']}.", "Make one in UTF8, and copy.")
        )
    if server.settings.get("data_checksums") == "off":
        findings.append(
            note("The server keeps no checksums of its pages.", "`pg_checksums --enable` lets it notice damage.")
        )
    wanted = settings.workers * settings.database_connections
    if wanted > server.free_connections:
        findings.append(
            wrong(
                f"The workers want up to {wanted} connections, and the server has {server.free_connections}.",
                "Lower --database-connections, raise max_connections, or put a pooler in between.",
            )
        )
    if abs(server.clock_ahead) > MAX_CLOCK_SECONDS:
        findings.append(
            wrong(
                f"The server's clock differs from this machine's by {abs(server.clock_ahead):,.0f} s.",
                "Set both (NTP).",
            )
        )
    return findings or [ok(f"PostgreSQL {server.version}, and set up to keep what it is given")]

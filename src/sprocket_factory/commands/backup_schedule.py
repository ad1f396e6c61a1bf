"""Backups that a server makes of its own database, again and again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sprocket_factory.commands.opening import place_of
from sprocket_factory.database.addresses import is_postgresql
from sprocket_factory.database.backup import back_up
from sprocket_factory.database.backup_folder import (
    make_folder,
    name_for,
    newest_backup,
    remove_older,
    time_until_due,
    turn_taken,
)
from sprocket_factory.errors import Refusal
from sprocket_factory.observe import log
from sprocket_factory.observe_metrics import backups
from sprocket_factory.settings import Settings

LONGEST_SLEEP = timedelta(minutes=1)
"""The clock may be set, and another server may have made the backup."""

RETRY = timedelta(minutes=1)
"""How long after one that failed, or while another server makes one."""


def check_schedule(settings: Settings) -> None:
    """Raise Unusable where backups are asked for and cannot be made."""
    if not settings.backup_every:
        return
    make_folder(Path(settings.backup_folder))
    if is_postgresql(settings.database_url):
        from sprocket_factory.database.postgresql_programs import find_programs  # noqa: PLC0415 - only the engine in use

        find_programs(settings.postgresql_programs)


@asynccontextmanager
async def scheduled_backups(settings: Settings) -> AsyncIterator[None]:
    """Make backups meanwhile, where they are asked for. One that is under way at the end is given up."""
    if not settings.backup_every:
        yield
        return
    backups.period = settings.backup_every
    schedule = asyncio.create_task(_back_up_for_ever(settings))
    try:
        yield
    finally:
        backups.period = 0
        schedule.cancel()
        await asyncio.wait([schedule])


async def _back_up_for_ever(settings: Settings) -> None:
    every = timedelta(seconds=settings.backup_every)
    folder = Path.cwd() / settings.backup_folder
    while True:
        pause = min(RETRY, every)
        try:
            newest = await asyncio.to_thread(newest_backup, folder)
            backups.last = newest.timestamp() if newest else 0.0
            due = time_until_due(newest, every)
            if due > timedelta():
                pause = min(due, LONGEST_SLEEP)
            elif await _back_up_in_turn(settings, folder, every):
                pause = timedelta()
        except Refusal as refusal:
            log.error("no backup could be made", reason=str(refusal))
        except Exception:  # noqa: BLE001 - the next one may succeed, whatever it was
            log.exception("no backup could be made")
        await asyncio.sleep(pause.total_seconds())


async def _back_up_in_turn(settings: Settings, folder: Path, every: timedelta) -> bool:
    """Make a backup unless another process makes one, or just has; return whether it did. Raises Refusal."""
    with ExitStack() as turn:
        is_ours = await asyncio.to_thread(turn.enter_context, turn_taken(folder))
        if not is_ours or time_until_due(await asyncio.to_thread(newest_backup, folder), every) > timedelta():
            return False
        target = name_for(folder, settings.database_url, datetime.now(UTC))
        contents = await back_up(place_of(settings), target, settings.postgresql_programs)
        removed = await asyncio.to_thread(remove_older, folder, settings.backup_keep)
    log.info("made and verified a backup", file=str(target), contents=str(contents), removed=len(removed))
    return True

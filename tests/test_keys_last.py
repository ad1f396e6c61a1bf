"""The last key of an administrator: it is not revoked unawares, or no key could give out another."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import START_SECONDS, Client, Service, run_program, wait_for_a_lock, wait_in
from keyholders import caller, change_key, make_key
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import Transaction
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.entities.key import remove_key
from sprocket_factory.errors import Conflict
from sprocket_factory.settings import Settings


@pytest.fixture
def service(database_url: str) -> Iterator[Service]:
    """Run a service that asks everybody for a key."""
    with Service(Settings(database_url=database_url), anonymous_role="none") as running:
        yield running


@pytest.fixture
def admin(service: Service) -> Iterator[Client]:
    """Return the only administrator. The key has the id 1."""
    with caller(service, make_key(service, "admin").secret) as client:
        yield client


def test_the_last_key_of_an_administrator_is_not_revoked(service: Service, admin: Client) -> None:
    """409, which says what to do; keys of other roles are no help. With another one it is revoked."""
    make_key(service, "engineer")
    refused = admin.delete("/keys/1")
    make_key(service, "admin")
    revoked = admin.delete("/keys/1")

    assert (409, "/problems/conflict") == (refused.status_code, refused.json()["type"])
    assert (
        "No other key of an administrator is good: without key 1 no key could give out another. Make one first,"
        " or run `sprocket-factory key revoke --last 1` beside the database." == refused.json()["detail"]
    )
    assert 204 == revoked.status_code


def test_a_key_that_has_expired_is_no_other(service: Service, admin: Client) -> None:
    """Nobody could come in with it; and it can be revoked itself, whoever is left."""
    expired = make_key(service, "admin").id
    change_key(service, expired, "expires_at", now() - SECOND)
    statuses = [admin.delete(f"/keys/{key_id}").status_code for key_id in (1, expired)]

    assert [409, 204] == statuses


def test_a_key_that_is_good_for_a_time_is_another(service: Service, admin: Client) -> None:
    """Whoever has it can give out others until then."""
    change_key(service, make_key(service, "admin").id, "expires_at", now() + 3600 * SECOND)

    assert 204 == admin.delete("/keys/1").status_code


def test_two_administrators_who_revoke_each_other_at_once_leave_one(service: Service) -> None:
    """The second waits for the first, and is refused."""
    revoke_each_other(service)


def test_they_leave_one_where_the_database_has_another_isolation_level(postgresql: PostgreSQLServer) -> None:
    """What the second has to see is not left to the default of a database that belongs to somebody else."""
    url = postgresql.new_database()
    postgresql.isolate(url, "repeatable read")
    with Service(Settings(database_url=url), anonymous_role="none") as running:
        revoke_each_other(running)


def revoke_each_other(service: Service) -> None:
    """Let two administrators do so at once: the second is refused."""
    one, other = (make_key(service, "admin").id for _ in range(2))
    begun, go_on = threading.Event(), threading.Event()

    async def revoke_slowly(tx: Transaction, key_id: int) -> None:
        await remove_key(tx, key_id)
        begun.set()
        await wait_in(tx, go_on)

    write = service.database.write
    first = asyncio.run_coroutine_threadsafe(write(revoke_slowly, one, by="test"), service.loop)
    assert begun.wait(START_SECONDS)
    second = asyncio.run_coroutine_threadsafe(write(remove_key, other, by="test"), service.loop)
    wait_for_a_lock(service)
    go_on.set()
    first.result(START_SECONDS)

    with pytest.raises(Conflict):
        second.result(START_SECONDS)
    assert [other] == [key_id for (key_id,) in service.run(service.database.all, "SELECT id FROM keys")]


def test_the_last_is_revoked_where_that_is_said(service: Service, admin: Client, tmp_path: Path) -> None:
    """On the command line, with --last: whoever has the database can make another there."""
    url = ("--database-url", service.settings.database_url)
    refused = run_program("key", "revoke", "1", *url, folder=tmp_path)
    before = admin.get("/me").status_code
    revoked = run_program("key", "revoke", "1", "--last", *url, folder=tmp_path)

    assert (1, 200) == (refused.returncode, before)
    assert "No other key of an administrator is good" in refused.stderr
    assert (0, "Key 1 is revoked.\n") == (revoked.returncode, revoked.stderr)
    assert [] == service.run(service.database.all, "SELECT id FROM keys")

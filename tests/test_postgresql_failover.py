"""Several PostgreSQL servers behind one service: it finds the one that can be written to, and loses nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain

import pytest

from harness import Client, Program, Service
from posters import CALLERS, REFUSALS, start_posters
from postgresql_proxy import Proxy
from postgresql_server import REPLICATED, PostgreSQLServer
from sprocket_factory.settings import Settings

SOON_SECONDS = 2

SERVERS = 2
"""Of the service, on one database."""


@pytest.fixture
def primary() -> Iterator[PostgreSQLServer]:
    """Run a server that another one may follow."""
    with PostgreSQLServer(REPLICATED) as server:
        yield server


@pytest.fixture
def standby(primary: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    """Run a server that follows, and that each COMMIT waits for."""
    with PostgreSQLServer(REPLICATED, primary) as server:
        set_and_reload(primary, "synchronous_standby_names = '*'")
        while primary.ask("SELECT sync_state FROM pg_stat_replication") != "sync":
            pass
        yield server


def set_and_reload(server: PostgreSQLServer, setting: str) -> None:
    """Change a setting of a running server."""
    server.ask(f"ALTER SYSTEM SET {setting}")
    server.ask("SELECT pg_reload_conf()")


def either(url: str, *ports: int) -> str:
    """Return the address of a database that is on any of these ports."""
    before, _, database = url.rpartition("/")
    user, _, _ = before.rpartition("@")
    return f"{user}@{','.join(f'127.0.0.1:{port}' for port in ports)}/{database}"


@contextmanager
def killed(server: PostgreSQLServer) -> Iterator[None]:
    """Let the server be gone."""
    server.stop("QUIT")
    yield


@contextmanager
def demoted(server: PostgreSQLServer) -> Iterator[None]:
    """Let the server go on with all its connections, and be written to no more."""
    set_and_reload(server, "default_transaction_read_only = on")
    yield


@pytest.mark.parametrize("lost", [killed, PostgreSQLServer.hanging, demoted], ids=["killed", "hanging", "demoted"])
def test_fault_04_a_standby_takes_over(
    start: Callable[..., Program],
    primary: PostgreSQLServer,
    standby: PostgreSQLServer,
    lost: Callable[[PostgreSQLServer], AbstractContextManager[None]],
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """However the primary is lost, callers get 503 until the standby is promoted; what was acknowledged is there.

    Each of the servers finds the new primary by itself.
    """
    url = either(primary.new_database(), standby.port, primary.port)
    servers = [start("serve", "--port", "0", "--database-url", url) for _ in range(SERVERS)]
    addresses = [server.wait_for_address() for server in servers]
    begun = time.monotonic()
    groups = [start_posters(address, CALLERS * number) for number, address in enumerate(addresses)]
    posters = list(chain(*groups))
    while not all(poster.acknowledged for poster in posters):
        assert time.monotonic() - begun < 10, servers[0].output
        time.sleep(0.01)
    with lost(primary):
        standby.ask("SELECT pg_promote()")
        promoted = time.monotonic()
        while any(max(poster.last_success for poster in group) < promoted for group in groups):
            time.sleep(0.01)
            assert time.monotonic() - promoted < 2 * SOON_SECONDS, servers[0].output
        waited = time.monotonic() - promoted
        for poster in posters:
            poster.stop()
        with Client(addresses[0]) as viewer:
            stored = [sprocket["id"] for sprocket in viewer.get("/sprockets").json()]
    acknowledged = [sprocket for poster in posters for sprocket in poster.acknowledged]
    record_testsuite_property(f"acknowledged writes, primary {lost.__name__}", len(acknowledged))
    record_testsuite_property(
        f"seconds until {SERVERS} servers found the new one, primary {lost.__name__}", round(waited, 2)
    )

    assert REFUSALS >= set().union(*(poster.refusals for poster in posters)), servers[0].output
    assert sorted(acknowledged) == sorted(set(acknowledged))
    assert set() == set(acknowledged) - set(stored)
    assert len(stored) - len(acknowledged) <= len(posters)
    assert "ERROR" not in "".join(server.output for server in servers)


def test_a_server_that_says_nothing_holds_nobody_up(postgresql: PostgreSQLServer) -> None:
    """Where the first of two is out of reach, the second one is used before anybody would notice."""
    url = postgresql.new_database()
    with Proxy(url) as proxy:
        proxy.be_silent()
        begun = time.monotonic()
        settings = Settings(database_url=either(url, int(proxy.url.split(":")[-1].split("/")[0]), postgresql.port))
        with Service(settings) as service, Client(service.address) as viewer:
            answer = viewer.get("/sprockets")
            took = time.monotonic() - begun

    assert (200, []) == (answer.status_code, answer.json())
    assert took < SOON_SECONDS

"""Several PostgreSQL servers behind one service: it finds the one that can be written to, and loses nothing.

How often each way to lose a primary is tried FAILOVERS in the environment says.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import NamedTuple

import pytest

from harness import START_SECONDS, Client, Program, Service
from log_lines import Line, errors_in
from posters import CALLERS, REFUSALS, start_posters, wait_for_more
from postgresql_proxy import Proxy
from postgresql_server import REPLICATED, PostgreSQLServer
from sprocket_factory.settings import Settings

FAILOVERS = int(os.environ.get("FAILOVERS", "1"))

SOON_SECONDS = 2

SERVERS = 2
"""Of the service, on one database."""

Loss = Callable[[PostgreSQLServer], AbstractContextManager[None]]
"""How a primary is lost, to the end of a block."""


@contextmanager
def pair() -> Iterator[tuple[PostgreSQLServer, PostgreSQLServer]]:
    """Run a primary, and a standby that each COMMIT waits for."""
    with PostgreSQLServer(REPLICATED) as primary, PostgreSQLServer(REPLICATED, primary) as standby:
        set_and_reload(primary, "synchronous_standby_names = '*'")
        deadline = time.monotonic() + START_SECONDS
        while (state := primary.ask("SELECT sync_state FROM pg_stat_replication")) != "sync":
            assert time.monotonic() < deadline, f"the standby does not follow: {state!r}"
            time.sleep(0.05)
        yield primary, standby


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
    """Let the server be gone without a word."""
    server.kill()
    yield
    server.start()  # only so does it give back the machine's memory


@contextmanager
def demoted(server: PostgreSQLServer) -> Iterator[None]:
    """Let the server go on with all its connections, and be written to no more."""
    set_and_reload(server, "default_transaction_read_only = on")
    yield


class Failover(NamedTuple):
    """What came of one."""

    acknowledged: list[int]
    stored: list[int]
    refusals: set[tuple[int, str, bool]]
    seconds: float
    """Until all servers of the service had found the new primary."""
    errors: list[Line]


def fail_over(start: Callable[..., Program], lost: Loss) -> Failover:
    """Lose a primary while many write, promote its standby, and return what came of it."""
    with pair() as (primary, standby):
        url = either(primary.new_database(), standby.port, primary.port)
        servers = [start("serve", "--port", "0", "--database-url", url) for _ in range(SERVERS)]
        addresses = [server.wait_for_address() for server in servers]
        groups = [start_posters(address, CALLERS * number) for number, address in enumerate(addresses)]
        posters = list(chain(*groups))
        wait_for_more(posters)
        with lost(primary):
            standby.ask("SELECT pg_promote()")
            promoted = time.monotonic()
            while any(max(poster.last_success for poster in group) < promoted for group in groups):
                time.sleep(0.01)
                assert time.monotonic() - promoted < 2 * SOON_SECONDS, servers[0].output
            seconds = time.monotonic() - promoted
            wait_for_more(posters)
            for poster in posters:
                poster.stop()
            with Client(addresses[0]) as viewer:
                stored = [sprocket["id"] for sprocket in viewer.get("/sprockets").json()]
        for server in servers:
            server.stop()
    return Failover(
        [sprocket for poster in posters for sprocket in poster.acknowledged],
        stored,
        set().union(*(poster.refusals for poster in posters)),
        seconds,
        errors_in("".join(server.output for server in servers)),
    )


@pytest.mark.parametrize("lost", [killed, PostgreSQLServer.hanging, demoted], ids=["killed", "hanging", "demoted"])
def test_fault_04_a_standby_takes_over(
    start: Callable[..., Program], lost: Loss, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """However the primary is lost, callers get 503 until the standby is promoted; what was acknowledged is there.

    Each of the servers finds the new primary by itself.
    """
    tried = [fail_over(start, lost) for _ in range(FAILOVERS)]
    acknowledged = sum(len(one.acknowledged) for one in tried)
    longest = max(one.seconds for one in tried)
    record_testsuite_property("failovers", FAILOVERS)
    record_testsuite_property(f"acknowledged writes, primary {lost.__name__}", acknowledged)
    record_testsuite_property(
        f"seconds until {SERVERS} servers found the new one, primary {lost.__name__}", round(longest, 2)
    )

    for one in tried:
        assert REFUSALS >= one.refusals
        assert sorted(one.acknowledged) == sorted(set(one.acknowledged))
        assert set() == set(one.acknowledged) - set(one.stored)
        assert len(one.stored) - len(one.acknowledged) <= SERVERS * CALLERS
        assert [] == one.errors


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

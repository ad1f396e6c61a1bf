"""Events: who follows learns of all that is recorded once, whoever writes it and wherever; and nobody waits for him."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from browsers import COOKIE, Browser
from event_sources import Source, Told, wait_for_clients
from faults import connected
from harness import BASE_PATH, Client, Program, Service, a_sprocket, forget_everything, run_program
from keyholders import WRONG_KEY, change_key, make_key
from long_lists import rest_of
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import Transaction
from sprocket_factory.endpoints import events, events_tail
from sprocket_factory.entities.change import Span
from sprocket_factory.entities.instant import SECOND, to_datetime
from sprocket_factory.entities.production_change import enter_many
from sprocket_factory.settings import Settings

COUNTS: dict[str, object] = {"sprocket_production_actual": 1, "sprocket_production_goal": 2}
TIME, LATER = "2021-01-21T02:06:58Z", "2021-01-21T02:07:58Z"
MOMENT = 1_611_194_818 * SECOND

STREAM = "text/event-stream"

Listen = Callable[..., Source]


@pytest.fixture
def listen(service: Service) -> Iterator[Listen]:
    """Return what follows the events, from now on or behind an id. Whoever follows at the end leaves."""
    with ExitStack() as sources:
        yield lambda *args, **kwargs: sources.enter_context(Source(service.address, *args, **kwargs))
    wait_for_clients(0)


@pytest.fixture
def engineer(service: Service) -> Iterator[Client]:
    """Return somebody who writes; there are two factories."""
    with Client(service.address) as client:
        for name in ("Sheffield", "Leeds"):
            client.post("/factories", json={"name": name}).raise_for_status()
        yield client


def production(id_: str, factory_id: int, first: str = TIME, last: str | None = None, records: int = 1) -> Told:
    """Return an event as it is expected."""
    return Told("production", id_, {"factory_id": factory_id, "from": first, "to": last or first, "records": records})


def put(client: Client, factory_id: int = 1, time: str = TIME, **counts: int) -> None:
    """Record production."""
    client.put(f"/production/{factory_id}/{time}", json=COUNTS | counts).raise_for_status()


def put_both(client: Client, **counts: int) -> None:
    """Record production of both factories at once: one change, and two events."""
    rows = [{"factory_id": number, "time": TIME} | COUNTS | counts for number in (1, 2)]
    client.post("/production?on_conflict=replace", json=rows).raise_for_status()


def test_each_way_to_write_is_told(engineer: Client, listen: Listen) -> None:
    """One record or many, made, changed or removed: one event for each factory, which says which records."""
    source = listen()
    record = f"/production/1/{TIME}"
    engineer.post("/production", json={"factory_id": 1, "time": TIME} | COUNTS)
    put(engineer, sprocket_production_actual=5)
    engineer.patch(record, json={"sprocket_production_goal": 6})
    engineer.delete(record)
    rows = [{"factory_id": number, "time": time} | COUNTS for number in (1, 2) for time in (TIME, LATER)]
    engineer.post("/production", json=rows)
    span: dict[str, str | int] = {"factory_id": 2, "time__gte": TIME, "time__lt": "2022-01-01T00:00:00Z"}
    engineer.delete("/production", params=span).raise_for_status()

    assert [
        *(production(str(position), 1) for position in (3, 4, 5, 6)),
        production("7.1", 1, TIME, LATER, 2),
        production("7", 2, TIME, LATER, 2),
        production("8", 2, TIME, LATER, 2),
    ] == source.take(7)


def test_what_changes_no_production_is_not_told(engineer: Client, listen: Listen) -> None:
    """Neither other things, nor what stores the same again, is refused, or is only tried out."""
    put(engineer)
    source = listen()
    engineer.post("/sprockets", json=a_sprocket())
    engineer.post("/factories", json={"name": "York"})
    put(engineer)
    engineer.post("/production", json={"factory_id": 1, "time": TIME} | COUNTS | {"sprocket_production_actual": 9})
    engineer.post("/production?dry_run=true", json=[{"factory_id": 1, "time": LATER} | COUNTS])
    put(engineer, 2)

    assert 2 == source.next().data["factory_id"]


def test_who_says_nothing_begins_now(engineer: Client, listen: Listen) -> None:
    """What was recorded before is no news."""
    put(engineer)
    source = listen()
    put(engineer, 2)

    assert production("4", 2) == source.next()


def test_who_comes_back_gets_what_was_missed(engineer: Client, listen: Listen) -> None:
    """All of it, in its order, and then what follows; whether the header says where, or the query."""
    first = listen()
    put(engineer)
    seen = first.next()
    first.close()
    for number in range(5):
        put(engineer, 2, sprocket_production_actual=number)
    sources = [listen(seen.id), listen(target=f"/events?last_event_id={seen.id}"), listen(seen.id)]
    put(engineer, 1, LATER)
    expected = [*(production(str(position), 2) for position in range(4, 9)), production("9", 1, LATER)]

    assert [expected] * 3 == [source.take(6) for source in sources]


def test_the_header_outdoes_the_query(engineer: Client, listen: Listen) -> None:
    """A browser that comes back asks the address it began with, and says in the header what it has seen since."""
    for number in range(3):
        put(engineer, sprocket_production_actual=number)
    source = listen("4", target="/events?last_event_id=3")

    assert "5" == source.next().id


def test_who_has_seen_no_event_yet_comes_back_to_where_it_was(engineer: Client, listen: Listen) -> None:
    """It is told a place to go on from before there is an event."""
    source = listen()
    source.close()
    put(engineer)
    again = listen(source.last_id)

    assert ("2", production("3", 1)) == (source.last_id, again.next())


def test_who_is_cut_off_between_two_events_of_a_change_gets_the_second_one(engineer: Client, listen: Listen) -> None:
    """And not the first one again, nor all of the change."""
    source = listen()
    put_both(engineer)
    put_both(engineer, sprocket_production_actual=7)
    told = source.take(4)
    rests = [listen(id_).take(count) for count, id_ in enumerate(["3", "3.1", "2"], start=2)]

    assert ["3.1", "3", "4.1", "4"] == [event.id for event in told]
    assert [told[2:], told[1:], told] == rests


def test_long_absence_is_made_up_for(engineer: Client, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages of changes were missed, other things among them, and however little is given at once."""
    monkeypatch.setattr(events_tail, "PAGE", 3)
    monkeypatch.setattr(events_tail, "MAX_AT_ONCE", 1)
    for number in range(20):
        put_both(engineer, sprocket_production_actual=number)
        engineer.post("/sprockets", json=a_sprocket())
    follower = listen()
    source = listen("2")
    put(engineer, sprocket_production_actual=100)

    assert [str(position) + part for position in range(3, 43, 2) for part in (".1", "")] == [
        event.id for event in source.take(40)
    ]
    assert source.next() == follower.next() == production("43", 1)


async def forget_changes(tx: Transaction, position: int) -> None:
    """Remove the changes up to a position, as pruning does."""
    await tx.run("DELETE FROM changes WHERE id <= :position", position=position)


@pytest.mark.parametrize("id_", ["0", "1", "1.1", "3", "4.1"])
def test_who_was_away_too_long_begins_anew(service: Service, engineer: Client, listen: Listen, id_: str) -> None:
    """Where some of what was missed is not kept any more, one event says so and where it goes on."""
    for number in range(4):
        put_both(engineer, sprocket_production_actual=number)
    service.run(service.database.order_changes)
    service.run(service.database.write, forget_changes, 4, by="test")
    source = listen(id_)
    reset = source.next()
    put(engineer, sprocket_production_actual=100)

    assert (Told("reset", "6", {}), production("7", 1)) == (reset, source.next())


@pytest.mark.parametrize("id_", ["99", "99.1", str(2**63 - 1)])
def test_an_id_that_was_never_given_begins_anew(engineer: Client, listen: Listen, id_: str) -> None:
    """It is of before a backup was restored, or of elsewhere. Somebody else who follows makes no difference."""
    put(engineer)
    follower = listen()
    source = listen(id_)

    assert Told("reset", "3", {}) == source.next()
    put(engineer, 2)
    assert [production("4", 2)] * 2 == [source.next(), follower.next()]


def test_a_restored_record_sends_its_followers_back(service: Service, engineer: Client, listen: Listen) -> None:
    """Who follows while the database is replaced by an older one comes back, and is told to begin anew."""
    put(engineer)
    source = listen()
    service.run(service.database.write, forget_everything, by="test")
    ended = source.read_to_its_end()
    engineer.post("/factories", json={"name": "York"})

    assert ([], True) == (ended, source.has_ended)
    assert Told("reset", "1", {}) == listen(source.last_id).next()


@pytest.mark.parametrize(
    "id_", ["", "x", "-1", "+1", "01", "1.", ".1", "1.0", "1.01", "1.1.1", "1e3", "٣", " 1", "9223372036854775808"]
)
@pytest.mark.parametrize("place", ["Last-Event-ID", "last_event_id"])
def test_an_id_that_is_none_is_refused(engineer: Client, place: str, id_: str) -> None:
    """422 names the header or the parameter."""
    is_header = place == "Last-Event-ID"
    if is_header and (not id_ or id_.strip() != id_):
        id_ = "1,2"  # white space around the value of a header is no part of it, and no browser sends an empty one
    parts: dict[str, Any] = {"headers": {place: id_.encode()}} if is_header else {"params": {place: id_}}
    answer = engineer.get("/events", **parts)

    assert (422, [place]) == (answer.status_code, [error["pointer"] for error in answer.json()["errors"]])


def test_two_ids_are_none(engineer: Client) -> None:
    """It is not guessed which of them is meant."""
    answers = [
        engineer.get("/events", headers=[("Last-Event-ID", "1"), ("Last-Event-ID", "2")]),
        engineer.get("/events?last_event_id=1&last_event_id=1"),
        engineer.get("/events?last_id=1"),
    ]

    assert [422] * 3 == [answer.status_code for answer in answers]


def test_a_browser_takes_it_for_events(listen: Listen) -> None:
    """The media type is that of events, and nobody on the way keeps them or holds them back."""
    headers = listen().answer.headers

    assert (STREAM, "no-store", "no", None) == tuple(
        headers[name] for name in ("Content-Type", "Cache-Control", "X-Accel-Buffering", "ETag")
    )


@pytest.mark.parametrize("accepted", [STREAM, "text/*", "*/*", "application/json, text/event-stream;q=0.1"])
def test_head_tells_what_get_would_give(engineer: Client, accepted: str) -> None:
    """And ends at once."""
    answer = engineer.head("/events", headers={"Accept": accepted})
    wait_for_clients(0)

    assert (200, STREAM, b"") == (answer.status_code, answer.headers["Content-Type"], answer.content)


def test_who_takes_no_events_is_refused(engineer: Client) -> None:
    """406, as everywhere; and there is nothing to post."""
    answer = engineer.get("/events", headers={"Accept": "application/json"})
    posted = engineer.post("/events", json={})

    assert (406, 405) == (answer.status_code, posted.status_code)
    assert {"GET", "HEAD", "OPTIONS"} == set(posted.headers["Allow"].split(", "))


def test_the_description_names_the_header_and_the_parameter(engineer: Client) -> None:
    """Programs find out how to go on; there is no version to compare."""
    path = engineer.get(f"{engineer.address}/openapi.json").json()["paths"][f"{BASE_PATH}/events"]
    parameters = {one["name"]: (one["in"], one["required"]) for one in path["get"]["parameters"]}

    assert {"last_event_id": ("query", False), "Last-Event-ID": ("header", False)} == parameters
    assert [STREAM] == list(path["get"]["responses"]["200"]["content"])
    assert not {"304"} & path["get"]["responses"].keys()


@pytest.mark.usefixtures("engineer")
def test_another_process_may_write(listen: Listen, service: Service, tmp_path: Path) -> None:
    """What a command stores beside the server is told as well."""
    source = listen()
    tmp_path.joinpath("rows.ndjson").write_text(
        f'{{"factory_id":2,"time":"{TIME}","sprocket_production_actual":1,"sprocket_production_goal":2}}\n'
    )
    done = run_program("load", "rows.ndjson", "--database-url", service.settings.database_url, folder=tmp_path)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert production("3", 2) == source.next()


def test_what_one_server_records_the_other_tells(postgresql: PostgreSQLServer) -> None:
    """Whoever follows at one of several servers misses nothing, and goes on at another one."""
    settings = Settings(database_url=postgresql.new_database())
    with Service(settings) as here, Service(settings) as there, Client(here.address) as client:
        for name in ("Sheffield", "Leeds"):
            client.post("/factories", json={"name": name})
        with Source(there.address) as follower, Client(there.address) as other:
            put(client)
            first = follower.next()
            put_both(other, sprocket_production_actual=8)
            second = follower.next()
        with Source(here.address, second.id) as follower:
            third = follower.next()

    assert [production("3", 1), production("4.1", 1), production("4", 2)] == [first, second, third]
    wait_for_clients(0)


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what happens every quarter of a minute happen every tenth of a second."""
    monkeypatch.setattr(events, "BEAT_SECONDS", 0.1)


@pytest.mark.usefixtures("beats")
def test_a_comment_keeps_the_connection_awake(engineer: Client, listen: Listen) -> None:
    """It comes again and again, and is no event; where other things have changed it tells how far that was seen."""
    source = listen()
    source.read_until(lambda: source.comments >= 3)
    before = source.last_id
    engineer.post("/sprockets", json=a_sprocket())
    source.read_until(lambda: source.last_id == "3")

    assert ("2", []) == (before, source.dispatched())


@pytest.fixture
def closed(service: Service) -> Iterator[Service]:
    """Run a service on the same database that asks for a key."""
    with Service(Settings(database_url=service.settings.database_url), anonymous_role="none") as running:
        yield running
    wait_for_clients(0)


@pytest.mark.parametrize("key", ["", WRONG_KEY], ids=["without", "wrong"])
def test_who_has_no_key_may_not_follow(closed: Service, key: str) -> None:
    """401, and no event."""
    with Source(closed.address, key=key) as source:
        assert 401 == source.answer.status


@pytest.mark.usefixtures("beats")
@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_key_that_is_good_no_longer_ends_the_events(
    closed: Service, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before long nothing is told any more, and the key opens nothing. Others go on."""
    monkeypatch.setattr("sprocket_factory.database.postgresql.TRUSTED_SECONDS", 0.01)
    key, other = (make_key(closed, "viewer") for _ in range(2))
    with Source(closed.address, key=key.secret) as source, Source(closed.address, key=other.secret) as stays:
        if how == "revoked":
            with Client(closed.address) as admin:
                admin.headers["Authorization"] = f"Bearer {make_key(closed, 'admin').secret}"
                admin.delete(f"/keys/{key.id}").raise_for_status()
        else:
            change_key(closed, key.id, "expires_at", MOMENT)
        assert [] == source.read_to_its_end()
        comments = stays.comments
        stays.read_until(lambda: stays.comments > comments + 2)
    with Source(closed.address, key=key.secret) as again:
        assert 401 == again.answer.status


@pytest.mark.usefixtures("beats")
def test_who_signs_out_is_told_no_more(closed: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of the board follows by its cookie, for as long as that is good."""
    monkeypatch.setattr("sprocket_factory.database.postgresql.TRUSTED_SECONDS", 0.01)
    with Browser(closed) as browser:
        browser.sign_in(make_key(closed, "viewer").secret)
        with Source(closed.address, cookie=f"{COOKIE}={browser.cookie}") as source:
            source.read_until(lambda: source.comments >= 3)
            browser.sign_out()
            assert [] == source.read_to_its_end()


async def enter_a_long_change(tx: Transaction) -> None:
    """Put an entry into the record that has many events."""
    moment = to_datetime(MOMENT)
    await enter_many(tx, "import", [Span(number, moment, moment, 1) for number in range(1, 5001)], None)


def stopped_follower(address: str) -> socket.socket:
    """Return a connection that follows the events, has read the beginning, and reads no more."""
    url = httpx.URL(address)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect((url.host, url.port))
    connection.sendall(f"GET {BASE_PATH}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    while b"retry: 1000" not in connection.recv(4096):
        pass
    return connection


def test_who_falls_behind_is_sent_away_and_nobody_waits(service: Service, engineer: Client, listen: Listen) -> None:
    """Writers and other followers go on meanwhile; and he gets all of it when he comes back."""
    follower = listen()
    slow = stopped_follower(service.address)
    quick = []
    for _ in range(3):
        service.run(service.database.write, enter_a_long_change, by="test")
        quick.append(follower.take(5000)[-1])
    put(engineer)
    last = follower.next()
    rest = rest_of(slow, 10_000_000)
    slow.close()
    place = int(re.findall(rb"id: 3\.(\d+)\n", rest)[-1])
    missed = listen(f"3.{place}").take(15_001 - place)

    assert [("production", "3"), ("production", "4"), ("production", "5")] == [event[:2] for event in quick]
    assert not rest.endswith(b"0\r\n\r\n")
    assert [*range(place + 1, 5001), *range(1, 5001), *range(1, 5001), 1] == [one.data["factory_id"] for one in missed]
    assert last == missed[-1] == production("6", 1)


def test_who_reads_nothing_is_cut_off(service: Service, listen: Listen) -> None:
    """As with any answer: the connection ends once he is half a minute behind, whether or not more is kept."""
    follower = listen()
    slow = stopped_follower(service.address)
    service.run(service.database.write, enter_a_long_change, by="test")
    follower.take(5000)
    service.let_seconds_pass(32)
    wait_for_clients(1)
    slow.close()


def test_who_leaves_is_forgotten_at_once(listen: Listen) -> None:
    """Not only when there is something to tell."""
    listen().close()
    wait_for_clients(0)


def test_no_more_follow_than_may(service: Service) -> None:
    """503 with Retry-After, in all and for one caller; whoever leaves makes room; and HEAD says so, too."""
    settings = Settings(database_url=service.settings.database_url, max_event_clients=4)
    with Service(settings) as few, ExitStack() as sources, Client(few.address) as viewer:
        keys = ["", *(make_key(few, "viewer").secret for _ in range(2))]
        mine = [sources.enter_context(Source(few.address)) for _ in range(2)]
        one_more = viewer.get("/events"), viewer.head("/events")
        others = [sources.enter_context(Source(few.address, key=keys[1])) for _ in range(2)]
        full = sources.enter_context(Source(few.address, key=keys[2]))
        mine[0].close()
        wait_for_clients(3)
        again = sources.enter_context(Source(few.address, key=keys[2]))

    assert [(503, "1")] * 2 == [(answer.status_code, answer.headers["Retry-After"]) for answer in one_more]
    assert "/problems/busy" == one_more[0].json()["type"]
    assert [200, 200, 503, 200] == [source.answer.status for source in (*others, full, again)]
    wait_for_clients(0)


def test_followers_are_no_requests_under_way(service: Service) -> None:
    """However many follow, others are served; and what the histogram counts is how long they waited for a beginning."""
    settings = Settings(database_url=service.settings.database_url, max_requests=2)
    with Service(settings) as small, ExitStack() as sources, Client(small.address) as viewer:
        before = sample(viewer, "sprocket_http_requests_in_flight")
        for _ in range(5):
            sources.enter_context(Source(small.address))
        statuses = {viewer.get("/factories").status_code for _ in range(5)}
        clients = sample(viewer, "sprocket_event_clients")
        under_way = sample(viewer, "sprocket_http_requests_in_flight")

    assert ({200}, 5) == (statuses, clients)
    assert before == under_way
    wait_for_clients(0)


def sample(client: Client, name: str) -> float:
    """Return the value of a metric without labels."""
    lines = client.get(f"{client.address}/metrics").text.splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"{name} ")]
    return float(value)


def test_a_connection_that_follows_is_kept(service: Service, engineer: Client, listen: Listen) -> None:
    """Neither the time between requests nor that for an answer counts while there is nothing to tell."""
    source = listen()
    service.let_seconds_pass(1000)
    put(engineer)

    assert production("3", 1) == source.next()


def test_what_is_asked_behind_it_waits_and_keeps_nobody(service: Service) -> None:
    """A request that is sent ahead on the same connection is of no use, and of no harm."""
    with connected(service.address) as connection:
        request = f"GET {BASE_PATH}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        connection.sendall(request * 2)
        assert b"HTTP/1.1 200" in connection.recv(65_536)
    wait_for_clients(0)


def test_a_database_that_is_away_is_waited_for(own_server: PostgreSQLServer) -> None:
    """Who follows stays; what is recorded afterwards is told. Who comes meanwhile is told to come again."""
    with (
        Service(Settings(database_url=own_server.new_database())) as service,
        Client(service.address) as client,
        Source(service.address) as source,
    ):
        client.post("/factories", json={"name": "Sheffield"})
        put(client)
        first = source.next()
        own_server.stop()
        away = client.get("/events")
        own_server.start()
        while client.get("/factories").status_code != 200:
            pass
        put(client, sprocket_production_actual=3)
        second = source.next()

    assert (503, "/problems/unavailable") == (away.status_code, away.json()["type"])
    assert [production("2", 1), production("3", 1)] == [first, second]
    wait_for_clients(0)


def test_what_nobody_foresaw_ends_the_events(engineer: Client, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits in vain for what is not read any more; who comes back begins where he was."""
    source = listen()
    with monkeypatch.context() as patched:
        patched.setattr(events_tail, "read_feed", None)
        ended = source.read_to_its_end()
        put(engineer)

    assert ([], production("3", 1)) == (ended, listen(source.last_id).next())


def test_fault_12_who_follows_does_not_keep_it_from_ending(
    start: Callable[..., Program], database_url: str, tmp_path: Path
) -> None:
    """The events end, as if whole, and the exit code is 0 long before requests under way are given up."""
    server = start("serve", "--port", "0", "--database-url", database_url, "--drain-seconds", "0")
    del tmp_path
    with Source(server.wait_for_address()) as source:
        code = server.stop()
        rest = source.read_to_its_end()

    assert (0, []) == (code, rest), server.output
    assert source.answer.isclosed()
    assert '"level":"error"' not in server.output

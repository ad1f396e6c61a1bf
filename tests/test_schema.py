"""The service and its own description agree: schemathesis tries all that /openapi.json promises, with all its checks.

Every run tries the same examples. With SCHEMA_EXAMPLES in the environment, which `bin/check --long` sets, it tries so
many of each operation, and others each time.
"""

import json
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta, timezone
from http import HTTPStatus
from itertools import count, product
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import ignored_auth

from harness import BASE_PATH, Client, Service, a_sprocket, forget_everything
from keyholders import caller, make_key
from sprocket_factory.access import limits
from sprocket_factory.entities import MAX_ID
from sprocket_factory.entities.attainment_sums import BUCKETINGS
from sprocket_factory.entities.factory import known_time_zones
from sprocket_factory.entities.instant import EARLIEST, LATEST, SECOND, read_instant
from sprocket_factory.entities.key import NewKey, add_key, new_secret
from sprocket_factory.errors import Invalid
from sprocket_factory.settings import Settings

Attempt = Callable[..., schemathesis.Response]

LONG = "SCHEMA_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "20"))

HEAD_IN_SHORT = {
    "include-method": "HEAD",
    "phases": {"coverage": {"enabled": False}},
    "generation": {"max-examples": 5},
}
"""HEAD is the GET of the same path without a body, so the limits of each parameter are not all tried once more."""

OTHER_LISTS_IN_SHORT = {
    "include-name": [
        f"GET {BASE_PATH}{path}"
        for path in ("/factories", "/keys", "/production/{factory_id}", "/changes/{change_id}/rows")
    ],
    "phases": {"coverage": {"enabled": False}},
}
"""All lists read their parameters alike: their limits are tried on /sprockets, /production and /changes alone."""

CONFIG: dict[str, Any] = {
    "generation": {"max-examples": EXAMPLES if LONG else EXAMPLES // 2, "deterministic": not LONG, "database": "none"},
    "output": {"sanitization": {"enabled": False}},
    "checks": {
        # No schema knows what is stored: things may be gone (404), there already (409), or changed meanwhile (412).
        "positive_data_acceptance": {"expected-statuses": ["200", "201", "204", "304", "404", "409", "412"]},
        "negative_data_rejection": {"expected-statuses": ["400", "401", "404", "405", "406", "415", "422"]},
    },
} | ({} if LONG else {"seed": 1, "operations": [HEAD_IN_SHORT, OTHER_LISTS_IN_SHORT]})

SECOND_ENGINE_IN_SHORT = {
    "phases": {"coverage": {"generation": {"mode": "positive"}}},
    "generation": CONFIG["generation"] | {"max-examples": EXAMPLES // 4},
}
"""Half as many examples, and none past the limits of a parameter: those are refused before an engine is asked."""

refused_before_an_engine_is_asked = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
"""So one engine is enough."""

SOME_EXAMPLES = hypothesis_settings(
    max_examples=(4 if LONG else 2) * EXAMPLES,
    derandomize=not LONG,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

HELD = {"sprocket_id": [*range(1, 21)], "factory_id": [1, 2, 3], "key_id": [2, 3], "change_id": [1, 2, 3]}
"""The ids of what is there from the beginning."""

ADMIN_KEY_ID = 1
"""The key with which everything is asked. It is never revoked."""

FUTURE = "2099-12-31T23:59:59Z"

TEXTS = ("name", "time_zone", "role", "actor", "action", "entity", "key", "request_id")
LISTS_OF_TEXT = {f"{name}__in" for name in TEXTS}
"""The parameters that are lists of any text."""

MAX_LIKELY_ID = 1000
"""A larger id is that of nothing, so most of them are drawn in vain."""

HELD_MOMENTS = [datetime(2021, 1, 21, 2, minute, 58, tzinfo=UTC) for minute in (6, 7)]
"""Each of these factories has records of these times."""

ANCHOR = datetime(2025, 2, 3, 4, 5, 6, tzinfo=UTC)
"""They have one of this time as well, which lies behind all that is drawn."""

FIRST_TIME = datetime(1980, 1, 1, 12, tzinfo=UTC)
LAST_TIME = datetime(2025, 1, 1, tzinfo=UTC)
"""What lies between them is in the past on every clock, so that the examples do not change with the day."""

FIRST_SECOND = EARLIEST // SECOND
LAST_SECOND = int(LAST_TIME.timestamp())

NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([Ee][+-]?[0-9]+)?", re.ASCII)

KEY = re.compile("[ -~]{1,255}", re.ASCII)

PLACE_OF_CURSOR = "settle puts one here"

BIDI_MARKS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def written(moment: datetime, offset: timezone, decimals: int, separator: str) -> str:
    """Return a moment in RFC 3339."""
    local = moment.astimezone(offset)
    fraction = f".{local.microsecond:06}"[: decimals + 1] if decimals else ""
    zone = "Z" if offset == UTC else f"{local:%z}"[:3] + ":" + f"{local:%z}"[3:5]
    return f"{local:%Y-%m-%d}{separator}{local:%H:%M:%S}{fraction}{zone}"


OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.sampled_from(HELD_MOMENTS) | st.datetimes(
    FIRST_TIME.replace(tzinfo=None), LAST_TIME.replace(tzinfo=None), timezones=st.just(UTC)
)
TIMES = st.builds(written, MOMENTS, st.just(UTC) | OFFSETS, st.integers(0, 6), st.sampled_from("Tt"))
COUNTS = st.integers(0, 2**31 - 1)
RECORDS = st.fixed_dictionaries(
    {
        "factory_id": st.sampled_from(HELD["factory_id"]),
        "time": TIMES | st.integers(FIRST_SECOND, LAST_SECOND),
        "sprocket_production_actual": COUNTS,
        "sprocket_production_goal": COUNTS,
    }
)
ZONES = st.sampled_from(sorted(known_time_zones()))
# A name begins here with a character that can be seen, since it has to have one.
NAMES = st.builds(
    "{}{}".format,
    st.characters(categories=["Lu", "Ll", "Nd", "P", "S"], exclude_characters="\u2800"),  # a blank that is a symbol
    st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"], exclude_characters=BIDI_MARKS), max_size=99),
).filter(lambda name: name == name.strip())
ETAGS = st.from_regex(r'(W/)?"[!#-~]{0,9}"(, {0,2}(W/)?"[!#-~]{0,9}"){0,3}', fullmatch=True)


@st.composite
def csv_bodies(draw: st.DrawFn) -> bytes:
    """Draw records as CSV, the columns in any order."""
    columns = draw(st.permutations(["factory_id", "time", "sprocket_production_actual", "sprocket_production_goal"]))
    quote = draw(st.sampled_from(["", '"']))
    rows = [columns, *([record[column] for column in columns] for record in draw(st.lists(RECORDS, max_size=5)))]
    lines = [",".join(f"{quote}{cell}{quote}" for cell in row) for row in rows]
    text = draw(st.sampled_from(["\n", "\r\n"])).join([*lines, *draw(st.sampled_from([[], [""]]))])
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))


@st.composite
def ndjson_bodies(draw: st.DrawFn) -> bytes:
    """Draw records as NDJSON."""
    lines = [json.dumps(record) for record in draw(st.lists(RECORDS, min_size=1, max_size=5))]
    return draw(st.sampled_from(["\n", "\r\n", "\n\n"])).join([*lines, *draw(st.sampled_from([[], [""]]))]).encode()


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """Draw what something becomes where a piece of it is lost, or overwritten by something else."""
    places = st.integers(0, len(whole))
    pieces = st.binary(max_size=9) | st.sampled_from([b"\0", b'"', b",", b"\n", b"{", b"9" * 30, b"[" * 9999])
    return st.builds(
        lambda ends, piece: whole[: min(ends)] + piece + whole[max(ends) :], st.tuples(places, places), pieces
    )


def forged(cursor: str) -> st.SearchStrategy[str]:
    """Draw what looks like a cursor and is none: text, bytes, and this one damaged."""
    whole = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    forgeries = damaged(whole).filter(lambda other: other != whole) | st.binary()
    return st.text() | forgeries.map(lambda forgery: urlsafe_b64encode(forgery).rstrip(b"=").decode())


schemathesis.openapi.format("date-time", TIMES)
schemathesis.openapi.format("time-zone", ZONES)
schemathesis.openapi.format("factory-name", NAMES)
schemathesis.openapi.format("if-match", st.just("*") | ETAGS)
schemathesis.openapi.format("if-none-match", st.just('"unknown"') | ETAGS | st.just("*"))
schemathesis.openapi.format("cursor", st.just(PLACE_OF_CURSOR))
schemathesis.openapi.media_type("text/csv", csv_bodies())
schemathesis.openapi.media_type("application/x-ndjson", ndjson_bodies())


@pytest.fixture
def service(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Run a service that asks everybody for a key. A minute passes between any two wrong ones, for many are tried."""
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=count(step=60).__next__))
    with Service(Settings(database_url=database_url), anonymous_role="none") as running:
        yield running


@pytest.fixture
def admin(service: Service) -> Iterator[Client]:
    """Return somebody who may do everything."""
    secret = new_secret()
    hold_keys(service, secret)
    with caller(service, secret) as client:
        yield client


@pytest.fixture
def document(service: Service, admin: Client, engine: str) -> schemathesis.BaseSchema:
    """Load the document that a service gives which holds a few things."""
    hold(admin)
    loaded = admin.get(f"{service.address}/openapi.json").json()
    complete(loaded)
    del loaded["paths"][f"{BASE_PATH}/events"]  # they have no end to wait for; test_events.py tries them
    auth = {"openapi": {"key": {"bearer": secret_of(admin)}}}
    in_short = SECOND_ENGINE_IN_SHORT if engine == "postgresql" and not LONG else {}
    config = schemathesis.Config.from_dict(CONFIG | in_short | {"base-url": service.address, "auth": auth})
    document = schemathesis.openapi.from_dict(loaded, config=config)
    document.hook("filter_failure")(is_failure)
    document.hook("map_path_parameters")(find_near)
    return document


@pytest.fixture
def connection() -> Iterator[requests.Session]:
    """Return a connection that stays open from case to case."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def guarded() -> set[str]:
    """Keep the operations that were tried without a key and with a wrong one, which is two requests more each time."""
    return set()


@pytest.fixture
def attempt(document: schemathesis.BaseSchema, connection: requests.Session, admin: Client) -> Attempt:
    """Return what makes one request of a test's own, with the checks that need no schema for what is sent."""
    headers = {"Authorization": admin.headers["Authorization"]}

    def make(method: str, path: str, **parts: Any) -> schemathesis.Response:
        return document[BASE_PATH + path][method].Case(**parts).call_and_validate(session=connection, headers=headers)

    return make


@pytest.fixture(autouse=True)
def _node_id(request: pytest.FixtureRequest) -> None:
    """Give schemathesis 4.32 the attribute that it renames tests by, and that pytest has no longer since 9.2."""
    request.node._nodeid = request.node.nodeid  # noqa: SLF001 - see above


def secret_of(client: Client) -> str:
    """Return the secret that a caller sends."""
    return client.headers["Authorization"].removeprefix("Bearer ")


def hold_keys(service: Service, secret: str) -> None:
    """See to it that there is the key that everything is asked with, and keys that may be revoked."""
    key = service.run(service.database.write, add_key, NewKey(name="administrator", role="admin"), secret, by="test")
    assert key.id == ADMIN_KEY_ID
    for _ in HELD["key_id"]:
        make_key(service, "viewer")


def hold(client: Client) -> None:
    """See to it that there are sprockets, and factories that have production."""
    for number in HELD["sprocket_id"]:
        client.post("/sprockets", json=a_sprocket(teeth=number + 10))
    for number in HELD["factory_id"]:
        client.post("/factories", json={"name": f"Factory {number}", "time_zone": "Europe/London"})
    hold_production(client, [*HELD_MOMENTS, ANCHOR])


def hold_production(client: Client, held: list[datetime]) -> None:
    """See to it that these factories have production, so that they cannot be removed."""
    for factory_id, moment in product(HELD["factory_id"], held):
        counts = {"sprocket_production_actual": 30, "sprocket_production_goal": 32}
        client.put(f"/production/{factory_id}/{written(moment, UTC, 0, 'T')}", json=counts)


def complete(loaded: dict[str, Any]) -> None:
    """Give the headers with ETags formats: schemathesis 4.32 forgets the pattern of a header without one."""
    for path in loaded["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in {"If-Match", "If-None-Match"} and "pattern" in parameter["schema"]:
                    parameter["schema"] |= {"format": parameter["name"].lower()}


def is_failure(
    context: schemathesis.HookContext,  # noqa: ARG001 - as declared
    failure: Failure,
    case: schemathesis.Case[Any],
    response: schemathesis.Response,
) -> bool:
    """Return whether a failure is one: a list of text is text between commas, so whatever stands there is one."""
    if not isinstance(failure, AcceptedNegativeData) or case.meta is None:
        return True
    data = case.meta.phase.data
    wrong = {(change.parameter_location, change.parameter) for change in data.mutations or [data]}
    sent = parse_qs(urlsplit(response.request.url or "").query, keep_blank_values=True)
    not_sent = {
        (location, name) for location, name in wrong if location == ParameterLocation.QUERY and name not in sent
    }
    return not {name for _, name in wrong - not_sent} <= LISTS_OF_TEXT


def find_near(context: schemathesis.HookContext, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:  # noqa: ARG001 - as declared
    """Return the parts of a path that are drawn, with ids of what is there in place of large ones."""
    settle_members(path_parameters or {}, MAX_LIKELY_ID)
    return path_parameters


keys = count(1)


def settle(case: schemathesis.Case[Any], connection: requests.Session, admin: Client) -> None:
    """Mend in a case what OpenAPI has no words for, unless it is asked without a key or with one that is made up.

    That is refused whatever else is said; and what is changed is looked at anew, where any text passes for a key.

    - A key is used for one request, and a cursor belongs to one list.
    - A list is sorted by each field once, whichever its direction.
    - A span ends after it begins.
    - A single record takes no parameters.
    - No chart has more than 400 buckets.
    - Each of many records belongs to a factory that is there.
    - A whole number is written without a fraction; 5.0 is one for JSON Schema.
    - A time is at most a day ahead of the service's clock, and has up to six decimals.
    - A key expires in the future, and is limited only where its role can be. The one that asks is not revoked.
    """
    if case.headers.get("Authorization") != admin.headers["Authorization"]:
        return
    if KEY.fullmatch(case.headers.get("Idempotency-Key", "")):
        case.headers["Idempotency-Key"] = f"key {next(keys)}"
    if isinstance(order := case.query.get("sort"), str) and len(terms := order.split(",")) == len(set(terms)):
        case.query["sort"] = ",".join({term.removeprefix("-"): term for term in terms}.values())
    settle_members(case.path_parameters, MAX_ID)  # find_near has seen to the ids
    settle_members(case.query, MAX_LIKELY_ID)
    if case.query.get("cursor") == PLACE_OF_CURSOR:
        del case.query["cursor"]
        first = case.call(session=connection, params={"limit": 1}, headers={"If-None-Match": '"unknown"'})
        case.query |= {"cursor": cursor} if (cursor := cursor_in(first.headers.get("link", [""])[0])) else {}
    if case.operation.path.endswith("/attainment") and case.query.get("format") == "svg":
        settle_chart(case.query)
    if case.operation.method == "delete" and not is_span(case.query):
        case.query |= {"time__gte": FIRST_SECOND, "time__lt": LAST_SECOND}
    if isinstance(case.body, dict) and case.operation.path.endswith("/production"):
        for name in ("on_conflict", "dry_run"):
            case.query.pop(name, None)
    settle_key(case)
    # What is set is looked at anew, and a validator knows no time zones: so a body is set only where it changes.
    if isinstance(case.body, dict | list) and repr(settled := plain(case.body, MAX_LIKELY_ID)) != repr(case.body):
        case.body = settled


def cursor_in(link: str) -> str | None:
    """Return the cursor of the page after the first one, or nothing where there is none."""
    target = urlsplit(link.partition(">")[0].removeprefix("<"))
    return parse_qs(target.query).get("cursor", [None])[0]


def settle_members(members: MutableMapping[str, Any], max_id: int) -> None:
    """Put the times that are numbers into the past, and ids over a limit among those of what is there."""
    for name, value in members.items():
        if name.partition("__")[0] in {"time", "created_at", "at"} and (settled := in_past(value)) != value:
            members[name] = settled
        if name in HELD and type(value) is int and max_id < value <= MAX_ID:
            members[name] = HELD[name][value % len(HELD[name])]


def settle_chart(query: MutableMapping[str, Any]) -> None:
    """Let a chart have one bucket."""
    if query.get("by", "day") in BUCKETINGS:
        query["by"] = "total"


def settle_key(case: schemathesis.Case[Any]) -> None:
    """Let a key expire in the future, limit it only where its role can be, and revoke none that is still needed."""
    if str(case.path_parameters.get("key_id")) == str(ADMIN_KEY_ID):
        case.path_parameters["key_id"] = HELD["key_id"][0]
    if not isinstance(case.body, dict) or not case.operation.path.endswith("/keys"):
        return
    body = plain(case.body, MAX_LIKELY_ID)
    if is_time(body.get("expires_at")):
        body["expires_at"] = FUTURE
    if isinstance(ids := body.get("factory_ids"), list):
        known = [HELD["factory_id"][one % 3] if type(one) is int and 1 <= one <= MAX_ID else one for one in ids]
        body["factory_ids"] = None if body.get("role") in {"engineer", "admin"} else known
    if repr(body) != repr(case.body):
        case.body = body


def is_time(value: Any) -> bool:
    """Return whether a member of a body is a time."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        read_instant(in_past(value), LATEST)
    except Invalid:
        return False
    return not (isinstance(value, str) and NUMBER.fullmatch(value))


def in_past(value: Any) -> Any:
    """Return a time, or times, as whole seconds in the past where it is a number that stands for a time."""
    if isinstance(value, list):
        return [in_past(one) for one in value]
    if isinstance(value, str):
        parts = [in_past(float(part)) if NUMBER.fullmatch(part) else part for part in value.split(",")]
        return ",".join(map(str, parts))
    if isinstance(value, bool) or not isinstance(value, int | float) or not FIRST_SECOND <= value < float("inf"):
        return value
    return FIRST_SECOND + int(value - FIRST_SECOND) % (LAST_SECOND - FIRST_SECOND)


def is_span(query: Mapping[str, Any]) -> bool:
    """Return whether a query has two times, the second after the first; or none that can be compared."""
    try:
        since, until = (read_instant(str(query[name]), LATEST) for name in ("time__gte", "time__lt"))
    except (KeyError, Invalid):
        return True
    return since < until


def plain(value: Any, max_id: int) -> Any:
    """Return a body with its members settled, and with whole numbers written as such."""
    if isinstance(value, dict):
        members = {name: plain(member, max_id) for name, member in value.items()}
        settle_members(members, max_id)
        return members
    if isinstance(value, list):
        return [plain(member, max(HELD["factory_id"])) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
def test_every_operation_is_as_described(
    case: schemathesis.Case[Any], connection: requests.Session, admin: Client, guarded: set[str]
) -> None:
    """What the description allows is accepted, what it does not allow is refused, and every answer is described."""
    settle(case, connection, admin)
    is_known = case.operation.label in guarded and not LONG
    answer = case.call_and_validate(session=connection, excluded_checks=[ignored_auth] if is_known else [])
    if answer.status_code < HTTPStatus.MULTIPLE_CHOICES:
        guarded.add(case.operation.label)
    if case.method == "DELETE":
        hold_production(admin, HELD_MOMENTS)


def test_operations_in_a_row_are_as_described(
    document: schemathesis.BaseSchema, connection: requests.Session, service: Service, admin: Client, engine: str
) -> None:
    """What one operation gives another takes: what was created is there, and what was removed is gone."""

    class Rows(document.as_state_machine()):  # type: ignore[misc]  # made by schemathesis
        """Chains of operations, each with what the ones before it have answered."""

        def setup(self) -> None:
            """Begin each chain with what is held, for what is stored decides what comes next."""
            service.run(service.database.write, forget_everything, by="test")
            hold_keys(service, secret_of(admin))
            hold(admin)

        def before_call(self, case: schemathesis.Case[Any]) -> None:
            """Mend what a description has no words for, and text that comes from a filter: there any text will do."""
            settle(case, connection, admin)
            if isinstance(case.body, dict) and case.meta and case.meta.generation.mode.is_positive:
                valid = {"name": f"Factory {next(keys)}", "time_zone": "UTC"}
                case.body |= {name: text for name, text in valid.items() if name in case.body}

        def after_call(self, response: schemathesis.Response, case: schemathesis.Case[Any]) -> None:
            """See to it that no factory goes that a body may name."""
            super().after_call(response, case)
            if case.method == "DELETE":
                hold_production(admin, [ANCHOR])

        def get_call_kwargs(self, case: schemathesis.Case[Any]) -> dict[str, Any]:  # noqa: ARG002 - as declared
            """Use the one connection."""
            return {"session": connection}

    # A chain that fails is told as it is: to look for a smaller one takes minutes.
    chains = EXAMPLES // (3 if LONG or engine == "sqlite" else 6)
    Rows.run(settings=hypothesis_settings(SOME_EXAMPLES, max_examples=chains, phases=[Phase.generate]))


@pytest.mark.parametrize(
    ("media_type", "bodies"), [("text/csv", csv_bodies()), ("application/x-ndjson", ndjson_bodies())]
)
def test_a_damaged_body_is_answered_as_described(
    attempt: Attempt, admin: Client, media_type: str, bodies: st.SearchStrategy[bytes]
) -> None:
    """A bulk body of which a piece is lost or overwritten is refused and stores nothing, or is one all the same."""

    @SOME_EXAMPLES
    @given(bodies.flatmap(damaged) | st.binary())
    def check(body: bytes) -> None:
        before = admin.get("/production").json()
        answer = attempt("POST", "/production", body=body, media_type=media_type, query={"on_conflict": "skip"})
        created = answer.json()["created"] if answer.status_code == HTTPStatus.OK else 0

        assert answer.status_code in {200, 400, 422}
        assert created == len(admin.get("/production").json()) - len(before)

    check()


@refused_before_an_engine_is_asked
@pytest.mark.parametrize(
    ("path", "other_order"),
    [
        ("/sprockets", "-id"),
        ("/factories", "-id"),
        ("/production", "-time"),
        ("/production/{factory_id}", "-time"),
        ("/changes", "-at"),
    ],
)
def test_a_forged_cursor_is_refused_as_described(attempt: Attempt, admin: Client, path: str, other_order: str) -> None:
    """A cursor that was not given for this very list is refused by name, whatever it is made of."""
    orders: list[dict[str, str]] = [{}, {"sort": other_order}]
    first, other = (admin.get(path.format(factory_id=1), params={"limit": "1"} | order) for order in orders)
    cursor, foreign = (cast("str", cursor_in(page.headers["Link"])) for page in (first, other))

    @SOME_EXAMPLES
    @given(st.just(foreign) | forged(cursor))
    def check(forgery: str) -> None:
        answer = attempt("GET", path, path_parameters={"factory_id": 1}, query={"cursor": forgery})

        assert (422, "cursor") == (answer.status_code, answer.json()["errors"][0]["pointer"])

    check()


@refused_before_an_engine_is_asked
def test_a_time_zone_that_is_none_is_refused_as_described(attempt: Attempt, admin: Client) -> None:
    """A factory lies in a zone that the database of time zones names, and in none that merely looks like one."""
    before = admin.get("/factories").json()
    near = ZONES.flatmap(lambda zone: st.sampled_from([zone.lower(), f"{zone} ", f"../{zone}", f"posix/{zone}"]))

    @SOME_EXAMPLES
    @given((st.text() | near).filter(lambda zone: zone not in known_time_zones()))
    def check(zone: str) -> None:
        body = {"name": "New", "time_zone": zone}
        answer = attempt("POST", "/factories", body=body, media_type="application/json")

        assert (422, "/time_zone") == (answer.status_code, answer.json()["errors"][0]["pointer"])

    check()
    assert before == admin.get("/factories").json()


@refused_before_an_engine_is_asked
def test_a_name_that_is_none_is_refused_as_described(attempt: Attempt, admin: Client) -> None:
    """A factory has no name with control characters, marks that turn text around, or white space at its ends."""
    before = admin.get("/factories").json()
    wrong = st.characters(categories=["Cc", "Zl", "Zp"]) | st.sampled_from(BIDI_MARKS)
    spliced = st.builds("{}{}{}".format, NAMES, wrong, NAMES)
    padded = st.builds("{}{}{}".format, st.sampled_from(["", " "]), NAMES, st.sampled_from(["\u3000", "\t"]))

    @SOME_EXAMPLES
    @given(spliced | padded)
    def check(name: str) -> None:
        answer = attempt("POST", "/factories", body={"name": name}, media_type="application/json")

        assert (422, "/name") == (answer.status_code, answer.json()["errors"][0]["pointer"])

    check()
    assert before == admin.get("/factories").json()

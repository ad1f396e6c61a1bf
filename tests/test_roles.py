"""Faults 32 and 33: who may do what. The table is the promise; every route is tried with every role."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from litestar import Litestar
from litestar.types import ASGIApp

from faults import everything
from harness import BASE_PATH, Client, Service, a_sprocket
from keyholders import caller, make_key
from sprocket_factory.access import table
from sprocket_factory.access.callers import Callers
from sprocket_factory.app import route_requests
from sprocket_factory.database import open_database
from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.asking import ask_endpoints
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.entities.key import Role
from sprocket_factory.observe import observe_requests
from sprocket_factory.settings import Settings

LEAST_ROLES: dict[str, dict[str, str]] = {
    "/sprockets": {"GET": "viewer", "HEAD": "viewer", "POST": "engineer"},
    "/sprockets/{sprocket_id}": {
        "GET": "viewer",
        "HEAD": "viewer",
        "PUT": "engineer",
        "PATCH": "engineer",
        "DELETE": "engineer",
    },
    "/sprockets/{sprocket_id}/geometry": {"GET": "viewer", "HEAD": "viewer"},
    "/sprockets/{sprocket_id}/drawing": {"GET": "viewer", "HEAD": "viewer"},
    "/factories": {"GET": "viewer", "HEAD": "viewer", "POST": "engineer"},
    "/factories/{factory_id}": {
        "GET": "viewer",
        "HEAD": "viewer",
        "PUT": "engineer",
        "PATCH": "engineer",
        "DELETE": "engineer",
    },
    "/production": {"GET": "viewer", "HEAD": "viewer", "POST": "operator", "DELETE": "engineer"},
    "/production/{factory_id}": {"GET": "viewer", "HEAD": "viewer"},
    "/attainment": {"GET": "viewer", "HEAD": "viewer"},
    "/events": {"GET": "viewer", "HEAD": "viewer"},
    "/production/{factory_id}/{time}": {
        "GET": "viewer",
        "HEAD": "viewer",
        "PUT": "operator",
        "PATCH": "operator",
        "DELETE": "engineer",
    },
    "/keys": {"GET": "admin", "HEAD": "admin", "POST": "admin"},
    "/keys/{key_id}": {"GET": "admin", "HEAD": "admin", "DELETE": "admin"},
    "/changes": {"GET": "admin", "HEAD": "admin"},
    "/changes/{change_id}/rows": {"GET": "admin", "HEAD": "admin"},
    "/me": {"GET": "viewer", "HEAD": "viewer"},
}

OPEN_ROUTES = {
    "/board/files/{name}",
    "/docs",
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/problems/{slug}",
}

SIGN_IN_ROUTES = {"/sign-in", "/sign-in/callback", "/sign-in/oidc", "/sign-out", "/board/kiosk/{key}"}
"""Open as well, but they lead away, or want something that only the tests of signing in have."""

PAGES: dict[str, Role] = {
    "/": "viewer",
    "/board/changes": "admin",
    "/board/factories/{factory_id}": "viewer",
    "/board/factories/{factory_id}/records/{time}/removal": "engineer",
    "/board/factories/{factory_id}/removal": "engineer",
    "/board/keys": "admin",
    "/board/new-factory": "engineer",
    "/board/new-sprocket": "engineer",
    "/board/sprockets": "viewer",
    "/board/sprockets/{sprocket_id}": "viewer",
    "/board/sprockets/{sprocket_id}/removal": "engineer",
    "/board/wall": "viewer",
}
"""The pages of the board, with the least role that sees them."""

ROLES: list[Role] = ["viewer", "operator", "engineer", "admin"]

WITHOUT_KEY = "nobody"

CALLS = [
    (who, method, path) for who in [WITHOUT_KEY, *ROLES] for path, methods in LEAST_ROLES.items() for method in methods
]

TIME = "2021-01-21T02:06:58Z"
COUNTS = {"sprocket_production_actual": 1, "sprocket_production_goal": 2}
OTHER_COUNTS = {"sprocket_production_actual": 3, "sprocket_production_goal": 4}
OURS, THEIRS = 1, 2

PATH_PARTS = {"sprocket_id": 1, "factory_id": 1, "key_id": 1, "change_id": 1, "time": TIME}

PARTS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/sprockets"): {"json": a_sprocket()},
    ("PUT", "/sprockets/{sprocket_id}"): {"json": a_sprocket(teeth=99)},
    ("PATCH", "/sprockets/{sprocket_id}"): {"json": {"teeth": 98}},
    ("POST", "/factories"): {"json": {"name": "Leeds"}},
    ("PUT", "/factories/{factory_id}"): {"json": {"name": "York", "time_zone": "UTC"}},
    ("PATCH", "/factories/{factory_id}"): {"json": {"name": "Hull"}},
    ("POST", "/production"): {"json": {"factory_id": 1, "time": "2021-01-21T03:00:00Z"} | COUNTS},
    ("DELETE", "/production"): {
        "params": {"factory_id": 1, "time__gte": "2021-01-01T00:00:00Z", "time__lt": "2022-01-01T00:00:00Z"}
    },
    ("PUT", "/production/{factory_id}/{time}"): {"json": OTHER_COUNTS},
    ("PATCH", "/production/{factory_id}/{time}"): {"json": {"sprocket_production_goal": 9}},
    ("POST", "/keys"): {"json": {"name": "another", "role": "admin"}},
}
"""What a request needs to be right, so that nothing but the role can refuse it."""


def may(who: str, method: str, path: str) -> bool:
    """Return whether the table lets them."""
    return who != WITHOUT_KEY and ROLES.index(who) >= ROLES.index(LEAST_ROLES[path][method])  # type: ignore[arg-type]


class People:
    """A closed service with one of each thing, two factories, and a caller of each role and without a key."""

    def __init__(self, service: Service) -> None:
        self.service = service
        make_key(service, "viewer")  # 1, which is nobody's
        self.keys = {role: make_key(service, role).secret for role in ROLES}
        self.callers = {role: caller(service, secret) for role, secret in self.keys.items()}
        self.callers[WITHOUT_KEY] = caller(service)  # type: ignore[index]  # no role
        admin = self["admin"]
        admin.post("/sprockets", json=a_sprocket())
        admin.post("/factories", json={"name": "Sheffield"})
        admin.post("/factories", json={"name": "Rotherham"})
        for factory_id in (OURS, THEIRS):
            admin.put(f"/production/{factory_id}/{TIME}", json=COUNTS)

    def __getitem__(self, who: str) -> Client:
        return self.callers[who]  # type: ignore[index]  # or nobody

    def stored(self) -> list[object]:
        """Return everything that is stored, keys included, but not when they were used."""
        keys = [{**key, "last_used_at": None} for key in self["admin"].get("/keys").json()]
        return [*everything(self["admin"]), keys]


@contextmanager
def people_in(folder: Path) -> Iterator[People]:
    """Run a closed service."""
    settings = Settings(database_url=f"sqlite:///{folder / 'factory.db'}")
    with Service(settings, anonymous_role="none") as service:
        people = People(service)
        yield people
        for client in people.callers.values():
            client.close()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """Run one service for whatever is refused: it leaves nothing, so no test can disturb another."""
    with people_in(tmp_path_factory.mktemp("refused")) as running:
        yield running


@pytest.fixture(scope="module")
def allowed_people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """Run one service for whatever is allowed."""
    with people_in(tmp_path_factory.mktemp("allowed")) as running:
        yield running


@pytest.fixture
def ours(people: People) -> Iterator[Client]:
    """Return somebody whose key is limited to one of the two factories."""
    with caller(people.service, make_key(people.service, "operator", OURS).secret) as client:
        yield client


def test_fault_32_the_table_names_every_operation_and_its_least_role(people: People) -> None:
    """A route without a row here fails, and so does a row without a route."""
    document = people["admin"].get(f"{people.service.address}/openapi.json").json()
    described = {
        path.removeprefix(BASE_PATH): {method.upper(): operation["x-role"] for method, operation in methods.items()}
        for path, methods in document["paths"].items()
    }

    assert LEAST_ROLES == described


def test_fault_32_what_is_not_described_is_open_by_a_list() -> None:
    """Besides the routes of the table there are these alone, whatever the document says."""
    routes = {route.path.replace(":str", "") for route in route_requests(Settings()).routes}
    described = {BASE_PATH + path for path in LEAST_ROLES}

    assert described | OPEN_ROUTES | SIGN_IN_ROUTES | PAGES.keys() | {"/metrics"} == routes


@pytest.mark.parametrize("path", sorted(OPEN_ROUTES))
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nothing"}], ids=["without", "wrong"])
def test_an_open_route_asks_nobody(people: People, path: str, headers: dict[str, str]) -> None:
    """The description and the meaning of a problem are there for whoever has no key yet."""
    address = people.service.address + path.format(slug="unauthenticated", name="board.css")

    assert 200 == people[WITHOUT_KEY].get(address, headers=headers).status_code


@pytest.mark.parametrize("path", sorted(PAGES))
def test_fault_32_a_page_is_for_those_who_may_see_it(people: People, path: str) -> None:
    """Who has signed in with too little a role is told so on a page, and who has not is sent to do it."""
    address = people.service.address + path.format_map(PATH_PARTS)
    rank = ROLES.index(PAGES[path])
    wanted = {WITHOUT_KEY: 303} | {role: 403 if ROLES.index(role) < rank else 200 for role in ROLES}

    answers = {who: people.callers[who].get(address) for who in wanted}  # type: ignore[index]

    assert wanted == {who: answer.status_code for who, answer in answers.items()}
    assert answers[WITHOUT_KEY].headers["Location"].startswith("/sign-in")
    assert {"text/html; charset=utf-8"} == {answer.headers["Content-Type"] for answer in answers.values()}


@pytest.mark.parametrize(
    ("who", "method", "path"), [call for call in CALLS if not may(*call)], ids=lambda value: str(value).strip("/")
)
def test_fault_32_what_a_role_may_not_do_is_refused(people: People, who: str, method: str, path: str) -> None:
    """403, or 401 without a key, and nothing is stored."""
    before = people.stored()
    answer = people[who].request(method, path.format(**PATH_PARTS), **PARTS.get((method, path), {}))

    assert (401 if who == WITHOUT_KEY else 403) == answer.status_code
    assert before == people.stored()


@pytest.mark.parametrize(
    ("who", "method", "path"), [call for call in CALLS if may(*call)], ids=lambda value: str(value).strip("/")
)
def test_fault_32_what_a_role_may_do_is_not_refused(allowed_people: People, who: str, method: str, path: str) -> None:
    """It is done, or 404 or 409 where somebody was first."""
    url, parts = path.format(**PATH_PARTS), PARTS.get((method, path), {})
    with allowed_people[who].stream(method, url, **parts) as answer:
        pass  # some answers have no end

    assert answer.status_code in {200, 201, 204, 404, 409}


@pytest.mark.parametrize("who", [WITHOUT_KEY, "viewer"])
def test_fault_32_a_refusal_comes_before_the_body_is_looked_at(people: People, who: str) -> None:
    """Whoever may not write learns nothing about what would be right."""
    answer = people[who].post("/sprockets", content=b"{", headers={"Content-Type": "text/plain"})

    assert (401 if who == WITHOUT_KEY else 403) == answer.status_code


@get("/forgotten")
async def get_forgotten(request: ApiRequest) -> ASGIApp:
    """Return something, and forget to say for whom."""
    return Answer(request.caller.name)


@pytest.mark.parametrize(("role", "expected"), [(None, 401), *((role, 401) for role in ROLES[:-1]), ("admin", 200)])
async def test_fault_32_a_route_that_names_no_role_needs_an_admin(
    tmp_path: Path, role: Role | None, expected: int
) -> None:
    """What was forgotten is closed."""
    database = await open_database(f"sqlite:///{tmp_path / 'factory.db'}")
    app = ask_endpoints(Litestar([get_forgotten], request_class=ApiRequest, logging_config=None, openapi_config=None))
    identified: Any = observe_requests(app, asyncio.Event(), callers=Callers(database, role), quotas=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(identified), base_url="http://service") as client:
        answer = await client.get("/forgotten")
    await database.close()

    assert expected == answer.status_code


def test_the_document_of_roles_is_that_of_the_code() -> None:
    """docs/roles.md is made by bin/docs; run it after a change of the routes."""
    document = route_requests(Settings()).state.openapi

    assert table.as_markdown(document) == Path(__file__).parent.parent.joinpath("docs", "roles.md").read_text()


def record(factory_id: int, minute: int = 0, **members: object) -> dict[str, object]:
    """Return a record that is not stored yet."""
    return {"factory_id": factory_id, "time": f"2021-01-22T02:{minute:02}:00Z"} | COUNTS | members


def as_array(rows: list[dict[str, object]]) -> dict[str, Any]:
    """Return the parts of a request that brings these rows as JSON."""
    return {"json": rows}


def as_ndjson(rows: list[dict[str, object]]) -> dict[str, Any]:
    """Return the parts of a request that brings these rows as NDJSON."""
    content = "".join(json.dumps(row) + "\n" for row in rows)
    return {"content": content, "headers": {"Content-Type": "application/x-ndjson"}}


def as_csv(rows: list[dict[str, object]]) -> dict[str, Any]:
    """Return the parts of a request that brings these rows as CSV."""
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    return {"content": "\n".join(lines) + "\n", "headers": {"Content-Type": "text/csv"}}


FORMATS = [as_array, as_ndjson, as_csv]

SINGLE_WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", f"/production/{{}}/{TIME}", {"json": OTHER_COUNTS}),
    ("PUT", "/production/{}/2021-01-22T00:00:00Z", {"json": COUNTS}),
    ("PUT", "/production/{}/2021-01-22T00:00:00Z", {"json": COUNTS, "headers": {"If-None-Match": "*"}}),
    ("PATCH", f"/production/{{}}/{TIME}", {"json": {"sprocket_production_goal": 9}}),
    ("PATCH", f"/production/{{}}/{TIME}", {"json": {}}),
]


@pytest.mark.parametrize(("method", "path", "parts"), SINGLE_WRITES)
def test_fault_33_a_record_of_another_factory_is_not_written(
    people: People, ours: Client, method: str, path: str, parts: dict[str, Any]
) -> None:
    """PUT and PATCH are 403, whether or not the record is there, and nothing is stored."""
    before = people.stored()
    answer = ours.request(method, path.format(THEIRS), **parts)

    assert (403, "/problems/forbidden") == (answer.status_code, answer.json()["type"])
    assert before == people.stored()


@pytest.mark.parametrize("member", ["factory_id", "time"])
def test_fault_33_a_body_leads_to_no_other_factory_than_the_path(people: People, ours: Client, member: str) -> None:
    """A PUT to ones own record whose body names another is refused, and nothing is stored."""
    before = people.stored()
    answer = ours.put(f"/production/{OURS}/{TIME}", json=OTHER_COUNTS | {member: record(THEIRS)[member]})

    assert 422 == answer.status_code
    assert before == people.stored()


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}], ids=["", "once"])
def test_fault_33_one_record_of_another_factory_is_not_added(
    people: People, ours: Client, headers: dict[str, str]
) -> None:
    """POST of one is 403, also for one that is stored already with the same values, and nothing is stored."""
    before = people.stored()
    answers = [
        ours.post("/production", json=body, headers=headers)
        for body in (record(THEIRS), record(THEIRS) | {"time": TIME}, record(99))
    ]

    assert [403] * 3 == [answer.status_code for answer in answers]
    assert before == people.stored()


@pytest.mark.parametrize("query", ["", "?dry_run=true", "?on_conflict=replace", "?on_conflict=skip"])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}], ids=["", "once"])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("form", FORMATS)
def test_fault_33_one_row_of_another_factory_refuses_the_whole_body(  # noqa: PLR0913, PLR0917 - the ways to send it
    people: People, ours: Client, form: Any, place: int, headers: dict[str, str], query: str
) -> None:
    """Wherever the row stands and however it is sent, 403 and nothing is stored, not even the rows that are allowed."""
    rows = [record(OURS, minute) for minute in range(3)]
    rows[place] = record(THEIRS)
    parts = form(rows)
    before = people.stored()
    answer = ours.post(f"/production{query}", **parts | {"headers": parts.get("headers", {}) | headers})

    assert (403, "/problems/forbidden") == (answer.status_code, answer.json()["type"])
    assert before == people.stored()


@pytest.mark.parametrize("form", FORMATS)
def test_fault_33_the_last_of_thousands_of_rows_refuses_them_all(people: People, ours: Client, form: Any) -> None:
    """A row that comes when much of the body has been read is not too late."""
    rows = [record(OURS, time=1_611_000_000 + number) for number in range(5000)]
    before = people.stored()
    answer = ours.post("/production", **form([*rows, record(THEIRS)]))

    assert 403 == answer.status_code
    assert before == people.stored()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("wrong", [1, 200])
def test_fault_33_a_row_of_another_factory_outdoes_rows_that_are_wrong(
    people: People, ours: Client, form: Any, wrong: int
) -> None:
    """It is 403 where something else is wrong before it, too, and nothing is stored."""
    before = people.stored()
    answer = ours.post("/production", **form([*[record(OURS, sprocket_production_goal=-1)] * wrong, record(THEIRS)]))

    assert 403 == answer.status_code
    assert before == people.stored()


@pytest.mark.parametrize("path", [f"/production/{{}}/{TIME}", "/production"])
@pytest.mark.parametrize("factory_id", [OURS, THEIRS])
def test_fault_33_a_limited_key_removes_nothing(people: People, ours: Client, path: str, factory_id: int) -> None:
    """Neither others' records nor its own: that takes an engineer, whose key has no limits."""
    span = PARTS["DELETE", "/production"]["params"] | {"factory_id": factory_id}
    before = people.stored()
    answer = ours.delete(path.format(factory_id), params=span if path == "/production" else {})

    assert 403 == answer.status_code
    assert before == people.stored()


def test_fault_33_an_answer_that_another_got_is_not_given_again(people: People, ours: Client) -> None:
    """The Idempotency-Key of somebody with more rights opens nothing."""
    headers = {"Idempotency-Key": "borrowed"}
    body = record(THEIRS) | {"time": TIME}
    first = people["operator"].post("/production", json=body, headers=headers)
    answer = ours.post("/production", json=body, headers=headers)

    assert (200, 403) == (first.status_code, answer.status_code)
    assert "Idempotent-Replayed" not in answer.headers


@pytest.mark.parametrize(("method", "path", "parts"), SINGLE_WRITES)
def test_a_limited_key_writes_its_own_records(
    allowed_people: People, method: str, path: str, parts: dict[str, Any]
) -> None:
    """What is within the limits is as for any operator."""
    service = allowed_people.service
    allowed_people["admin"].put(f"/production/{THEIRS}/{TIME}", json=COUNTS)
    allowed_people["admin"].delete(f"/production/{THEIRS}/2021-01-22T00:00:00Z")
    with caller(service, make_key(service, "operator", THEIRS).secret) as theirs:
        answer = theirs.request(method, path.format(THEIRS), **parts)

    assert answer.status_code in {200, 201}


@pytest.mark.parametrize("form", FORMATS)
def test_a_limited_key_brings_many_records_of_its_own(allowed_people: People, form: Any) -> None:
    """Bulk works within the limits, for several factories too."""
    service = allowed_people.service
    new = allowed_people["admin"].post("/factories", json={"name": form.__name__}).json()["id"]
    with caller(service, make_key(service, "operator", THEIRS, new).secret) as both:
        answer = both.post("/production?on_conflict=skip", **form([record(THEIRS), record(new)]))

    assert (200, 2) == (answer.status_code, answer.json()["records"])


@pytest.mark.parametrize("factory_id", [OURS, THEIRS])
def test_fault_33_a_key_limited_to_no_factory_writes_nothing(people: People, factory_id: int) -> None:
    """An empty list is a limit, and not the lack of one."""
    before_keys = make_key(people.service, "operator", limited=True)
    with caller(people.service, before_keys.secret) as nowhere:
        before = people.stored()
        answers = [
            nowhere.put(f"/production/{factory_id}/{TIME}", json=OTHER_COUNTS),
            nowhere.patch(f"/production/{factory_id}/{TIME}", json=OTHER_COUNTS),
            nowhere.post("/production", json=record(factory_id)),
            *(nowhere.post("/production", **form([record(factory_id)])) for form in FORMATS),
        ]

    assert [] == before_keys.factory_ids
    assert [403] * 6 == [answer.status_code for answer in answers]
    assert before == people.stored()


@pytest.mark.parametrize(
    "path", ["/production", f"/production/{THEIRS}", f"/production/{THEIRS}/{TIME}", "/factories", "/sprockets", "/me"]
)
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_reading_is_not_limited(people: People, role: Role, path: str) -> None:
    """A limited key reads what any key reads."""
    with caller(people.service, make_key(people.service, role, limited=True).secret) as limited:
        answer = limited.get(path)

    assert 200 == answer.status_code
    assert path == "/me" or people["admin"].get(path).json() == answer.json()


@pytest.mark.parametrize(
    ("method", "path", "parts"),
    [
        ("POST", "/keys", {"json": {"name": "more", "role": "operator"}}),
        ("POST", "/keys", {"json": {"name": "more", "role": "operator", "factory_ids": [OURS]}}),
        ("GET", "/keys", {}),
        ("GET", "/keys/1", {}),
        ("DELETE", "/keys/1", {}),
        ("PATCH", "/keys/1", {"json": {"factory_ids": None}}),
        ("PUT", "/keys/1", {"json": {"name": "more", "role": "admin"}}),
        ("PATCH", "/me", {"json": {"factory_ids": None}}),
    ],
)
def test_fault_33_no_way_leads_out_of_the_limits(
    people: People, ours: Client, method: str, path: str, parts: dict[str, Any]
) -> None:
    """A limited key makes, sees, changes and revokes no keys, nor itself."""
    before = people.stored()
    answer = ours.request(method, path, **parts)

    assert answer.status_code in {403, 405}
    assert before == people.stored()


@pytest.mark.parametrize("role", ["engineer", "admin"])
@pytest.mark.parametrize("factory_ids", [[], [OURS], [OURS, THEIRS]])
def test_whoever_keeps_the_catalogue_cannot_be_limited(people: People, role: Role, factory_ids: list[int]) -> None:
    """A limit that would not hold is refused by name, and no key is made."""
    before = people.stored()
    answer = people["admin"].post("/keys", json={"name": "limited", "role": role, "factory_ids": factory_ids})

    assert 422 == answer.status_code
    assert ["/factory_ids"] == [error["pointer"] for error in answer.json()["errors"]]
    assert before == people.stored()


def test_the_roles_are_those_of_the_table() -> None:
    """A role that is new has to be walked, too."""
    assert tuple(ROLES) == get_args(Role)

"""Keys: made, shown once, listed without their secrets, revoked."""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from faults import get
from harness import TLS, Client, Service, pointers, run_program
from keyholders import WRONG_KEY, caller, change_key, make_key
from log_lines import Logged
from postgresql_server import PostgreSQLServer
from sprocket_factory.access import callers
from sprocket_factory.database.postgresql import TRUSTED_SECONDS
from sprocket_factory.entities.key import KeyWithSecret, Role
from sprocket_factory.settings import Settings

MEMBERS = ["id", "name", "role", "factory_ids", "created_at", "expires_at", "last_used_at"]

ROLES: list[Role] = ["viewer", "operator", "engineer", "admin"]

T = TypeVar("T")

Holding = Callable[[bytes], list[str]]

NEW = {"name": "press line", "role": "operator"}


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return the settings of a service that has no key yet."""
    return Settings(database_url=database_url)


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """Run a service that asks everybody for a key."""
    with Service(settings, anonymous_role="none") as running:
        yield running


@pytest.fixture
def holding(request: pytest.FixtureRequest, engine: str, database_url: str) -> Holding:
    """Return what gives the names of the database's files that hold these bytes."""

    def files() -> Iterator[Path]:
        if engine == "sqlite":
            path = Path(database_url.removeprefix("sqlite:///"))
            yield from path.parent.glob(f"{path.name}*")
            return
        server: PostgreSQLServer = request.getfixturevalue("postgresql")
        server.ask("CHECKPOINT")
        number = server.ask("SELECT oid FROM pg_database WHERE datname = current_database()", database_url)
        yield from (server.folder / "data" / "base" / number).iterdir()
        yield from (server.folder / "data" / "pg_wal").glob("0*")

    return lambda data: [file.name for file in files() if data in file.read_bytes()]


@pytest.fixture
def admin_key(service: Service) -> KeyWithSecret:
    """Return the first key, whose id is 1."""
    return make_key(service, "admin")


@pytest.fixture
def admin(service: Service, admin_key: KeyWithSecret) -> Iterator[Client]:
    """Return somebody who gives out keys."""
    with caller(service, admin_key.secret) as client:
        yield client


def me(service: Service, secret: str | None) -> httpx.Response:
    """Return what the service answers to somebody with this key who asks who he is."""
    with caller(service, secret) as client:
        return client.get("/me")


def settled(service: Service, ask: Callable[[], T], expected: T) -> T:
    """Return what is answered once somebody else's change is known: at once, and beside a server within 2 seconds."""
    deadline = time.monotonic() + (0 if service.settings.database_url.startswith("sqlite:") else TRUSTED_SECONDS)
    while (answer := ask()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def moment_in(**distance: float) -> str:
    """Return a moment that is so far from now, as one writes it."""
    return (datetime.now(UTC) + timedelta(**distance)).isoformat()


@pytest.mark.parametrize("role", ROLES)
def test_a_new_key_is_shown_with_its_secret_and_works(service: Service, admin: Client, role: str) -> None:
    """POST answers 201 with the key, where it is, and its secret, which nobody may keep on the way."""
    answer = admin.post("/keys", json={"name": "press line", "role": role})
    key = answer.json()

    assert (201, "no-store") == (answer.status_code, answer.headers["Cache-Control"])
    assert [*MEMBERS, "secret"] == list(key)
    assert re.fullmatch(r"sfk_[A-Za-z0-9_-]{43}", key["secret"])
    assert role == me(service, key["secret"]).json()["role"]


def test_a_new_key_is_found_at_its_location_without_its_secret(admin: Client) -> None:
    """The secret is shown once and never again."""
    answer = admin.post("/keys", json=NEW)
    found = admin.get(admin.address + answer.headers["Location"])

    assert MEMBERS == list(found.json())
    assert answer.json() == found.json() | {"secret": answer.json()["secret"]}


def test_no_two_keys_have_one_secret(admin: Client) -> None:
    """Keys may have one name; they are told apart by id, and each has a secret of its own."""
    keys = [admin.post("/keys", json=NEW).json() for _ in range(20)]

    assert 20 == len({key["secret"] for key in keys})
    assert list(range(2, 22)) == [key["id"] for key in keys]


@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
def test_a_list_of_keys_shows_no_secret(admin: Client, form: str) -> None:
    """In every format a key has its members and neither its secret nor what is stored of it."""
    made = admin.post("/keys", json=NEW).json()
    text = admin.get("/keys", params={"format": form}).text
    first, *_, last = text.splitlines() if form != "json" else ["", json.dumps(json.loads(text)[-1])]

    assert MEMBERS == (first.split(",") if form == "csv" else list(json.loads(last)))
    assert "press line" in last
    assert made["secret"] not in text
    assert sha256(made["secret"].encode()).hexdigest() not in text
    assert "digest" not in text


def test_keys_are_listed_by_id(admin: Client) -> None:
    """The list is one of keys as each of them is shown alone."""
    ids = [admin.post("/keys", json=NEW).json()["id"] for _ in range(3)]

    assert [admin.get(f"/keys/{key_id}").json() for key_id in ids] == admin.get("/keys?id__gt=1").json()


@pytest.mark.parametrize("column", ["digest", "secret"])
@pytest.mark.parametrize("parameter", ["{}", "{}__gt", "sort"])
def test_no_list_is_asked_for_a_secret(admin: Client, column: str, parameter: str) -> None:
    """Filters and orders by what is stored of a secret would guess it letter by letter."""
    answer = admin.get("/keys", params={parameter.format(column): column if parameter == "sort" else "a"})

    assert 422 == answer.status_code


def test_a_key_is_limited_to_the_factories_it_names(service: Service, admin: Client) -> None:
    """Each is named once, in order; an empty list is kept as one."""
    for name in ("Sheffield", "Rotherham"):
        admin.post("/factories", json={"name": name})
    limited = admin.post("/keys", json=NEW | {"factory_ids": [2, 1, 2]}).json()
    nowhere = admin.post("/keys", json=NEW | {"factory_ids": []}).json()

    assert [[1, 2], []] == [limited["factory_ids"], nowhere["factory_ids"]]
    assert [[1, 2], []] == [me(service, key["secret"]).json()["factory_ids"] for key in (limited, nowhere)]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"role": "viewer"}, "/name"),
        ({"name": "press line"}, "/role"),
        ({"name": "press line", "role": "none"}, "/role"),
        ({"name": "press line", "role": "Admin"}, "/role"),
        ({"name": "press line", "role": None}, "/role"),
        ({"name": "", "role": "viewer"}, "/name"),
        ({"name": "x" * 101, "role": "viewer"}, "/name"),
        ({"name": " press line", "role": "viewer"}, "/name"),
        ({"name": "press\nline", "role": "viewer"}, "/name"),
        ({"name": "press\x1b[2Jline", "role": "viewer"}, "/name"),
        ({"name": "press\u202eline", "role": "viewer"}, "/name"),
        ({"name": "press\x00line", "role": "viewer"}, "/name"),
        ({"name": 7, "role": "viewer"}, "/name"),
        (NEW | {"factory_ids": [1]}, "/factory_ids/0"),
        (NEW | {"factory_ids": "all"}, "/factory_ids"),
        (NEW | {"factory_ids": [0]}, "/factory_ids/0"),
        (NEW | {"factory_ids": [None]}, "/factory_ids/0"),
        (NEW | {"factory_ids": list(range(1, 1002))}, "/factory_ids"),
        (NEW | {"expires_at": "tomorrow"}, "/expires_at"),
        (NEW | {"expires_at": "2030-01-01T00:00:00"}, "/expires_at"),
        (NEW | {"expires_at": "2101-01-01T00:00:00Z"}, "/expires_at"),
        (NEW | {"expires_at": "2021-01-21T02:06:58Z"}, "/expires_at"),
        (NEW | {"expires_at": 1_611_194_818}, "/expires_at"),
        (NEW | {"expires_at": 0}, "/expires_at"),
        (NEW | {"expires_at": True}, "/expires_at"),
        (NEW | {"id": 7}, "/id"),
        (NEW | {"secret": WRONG_KEY}, "/secret"),
        (NEW | {"digest": "00"}, "/digest"),
        (NEW | {"created_at": "2021-01-21T02:06:58Z"}, "/created_at"),
    ],
)
def test_a_key_that_breaks_a_rule_is_not_made(admin: Client, body: dict[str, object], pointer: str) -> None:
    """The refusal names the member; nobody chooses an id or a secret, and no key expires before it is made."""
    answer = admin.post("/keys", json=body)

    assert 422 == answer.status_code
    assert [pointer] == pointers(answer.json())
    assert [1] == [key["id"] for key in admin.get("/keys").json()]


def test_everything_wrong_with_a_key_is_named_at_once(admin: Client) -> None:
    """One look at the refusal is enough to mend it."""
    answer = admin.post(
        "/keys", json={"name": " ", "role": "admin", "factory_ids": [9], "expires_at": "2021-01-21T02:06:58Z"}
    )

    assert ["/name", "/expires_at", "/factory_ids", "/factory_ids/0"] == pointers(answer.json())


def test_a_key_that_expires_works_until_then(service: Service, admin: Client) -> None:
    """The moment stands in the key and in what its holder is told."""
    key = admin.post("/keys", json=NEW | {"expires_at": "2099-12-31T23:59:59+01:00"}).json()

    assert "2099-12-31T22:59:59Z" == key["expires_at"]
    assert key["expires_at"] == me(service, key["secret"]).json()["expires_at"]


def test_fault_29_an_expired_key_is_refused(service: Service, admin: Client) -> None:
    """From the moment at which it expires a key is no key; an administrator still sees it."""
    key = admin.post("/keys", json=NEW | {"expires_at": moment_in(hours=1)}).json()
    before = me(service, key["secret"])
    change_key(service, key["id"], "expires_at", 1_611_194_818_000_000)
    after = settled(service, lambda: me(service, key["secret"]).status_code, 401)

    assert [200, 401] == [before.status_code, after]
    assert "2021-01-21T02:06:58Z" == admin.get(f"/keys/{key['id']}").json()["expires_at"]


def test_fault_34_a_revoked_key_is_refused_with_the_next_request(service: Service, admin: Client) -> None:
    """204, and from then on it is no key: on a connection that was open before, too."""
    key = admin.post("/keys", json=NEW).json()
    with caller(service, key["secret"]) as holder:
        before = holder.get("/me")
        revoked = admin.delete(f"/keys/{key['id']}")
        after = holder.get("/me")

    assert [200, 204, 401] == [before.status_code, revoked.status_code, after.status_code]
    assert 404 == admin.get(f"/keys/{key['id']}").status_code


def test_fault_34_an_administrator_who_revokes_his_own_key_is_out(service: Service, admin: Client) -> None:
    """There is no grace."""
    make_key(service, "admin")
    answers = [admin.delete("/keys/1"), admin.get("/keys")]

    assert [204, 401] == [answer.status_code for answer in answers]


def test_fault_34_a_key_revoked_by_another_process_is_refused(service: Service, admin: Client, tmp_path: Path) -> None:
    """`key revoke` beside a running server needs no word to it: the next request knows, on PostgreSQL within 2 s."""
    key = admin.post("/keys", json=NEW).json()
    with caller(service, key["secret"]) as holder:
        before = holder.get("/me")
        done = run_program(
            "key", "revoke", str(key["id"]), "--database-url", service.settings.database_url, folder=tmp_path
        )
        after = settled(service, lambda: holder.get("/me").status_code, 401)

    assert 0 == done.returncode, done.stderr
    assert [200, 401] == [before.status_code, after]


@pytest.mark.parametrize(("role", "expected"), [("viewer", 403), ("operator", 403), ("engineer", 201)])
def test_fault_34_the_next_request_knows_a_role_that_was_changed(
    service: Service, admin: Client, role: str, expected: int
) -> None:
    """What a key may do is asked for anew: with the next request, on PostgreSQL within 2 s."""
    key = admin.post("/keys", json={"name": "press line", "role": "viewer"}).json()
    with caller(service, key["secret"]) as holder:
        holder.get("/me")
        change_key(service, key["id"], "role", role)
        known = settled(service, lambda: holder.get("/me").json()["role"], role)
        answer = holder.post("/factories", json={"name": "Leeds"})

    assert (expected, role) == (answer.status_code, known)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("key_id", ["2", "0", "-1", "9223372036854775808", "abc", "%00", "1_0"])
def test_an_unknown_key_is_not_found(admin: Client, method: str, key_id: str) -> None:
    """An id that no key has, or that is none, is 404."""
    assert 404 == admin.request(method, f"/keys/{key_id}").status_code


def test_the_id_of_a_revoked_key_is_never_given_again(admin: Client) -> None:
    """Who did something once does not become somebody else."""
    admin.post("/keys", json=NEW)
    admin.delete("/keys/2")

    assert 3 == admin.post("/keys", json=NEW).json()["id"]


def test_a_key_is_revoked_only_as_it_was_seen(admin: Client) -> None:
    """DELETE with the ETag of another version is 412, and the key stays one; with its own it goes."""
    key = admin.post("/keys", json=NEW).json()
    etag = admin.get(f"/keys/{key['id']}").headers["ETag"]
    answers = [admin.delete(f"/keys/{key['id']}", headers={"If-Match": version}) for version in ('"other"', etag)]

    assert [412, 204] == [answer.status_code for answer in answers]


def test_keys_are_found_by_their_name_role_and_age(admin: Client) -> None:
    """Filters work as in every list."""
    began = moment_in()
    for name in ("press line", "Press of Leeds", "gate"):
        admin.post("/keys", json=NEW | {"name": name})
    queries: list[dict[str, str]] = [
        {"name__contains": "PRESS"},
        {"role": "admin"},
        {"created_at__gte": began},
        {"role": "operator", "sort": "-created_at"},
    ]

    assert [[2, 3], [1], [2, 3, 4], [4, 3, 2]] == [
        [key["id"] for key in admin.get("/keys", params=query).json()] for query in queries
    ]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_key_is_not_changed(admin: Client, method: str) -> None:
    """What a key may do is settled when it is made; another key is made instead."""
    answer = admin.request(method, "/keys/1", json=NEW)

    assert 405 == answer.status_code
    assert {"DELETE", "GET", "HEAD", "OPTIONS"} == set(answer.headers["Allow"].split(", "))


def test_an_idempotency_key_is_not_listened_to(admin: Client, holding: Holding) -> None:
    """The answer has a secret, and an answer that is kept would keep it: the same request makes another key."""
    headers = {"Idempotency-Key": "once"}
    first = admin.post("/keys", json=NEW, headers=headers)
    second = admin.post("/keys", json=NEW, headers=headers)

    assert [201, 201] == [first.status_code, second.status_code]
    assert "Idempotent-Replayed" not in second.headers
    assert first.json()["secret"] != second.json()["secret"]
    assert [] == holding(first.json()["secret"][4:].encode())


def test_a_key_says_when_it_was_used_last(service: Service, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with every request, but soon; a key that nobody used says so."""
    monkeypatch.setattr(callers, "NOTE_USE_SECONDS", 0)
    used, unused = (admin.post("/keys", json=NEW).json() for _ in range(2))
    began = moment_in()
    me(service, used["secret"])
    for _ in range(1000):
        if admin.get(f"/keys/{used['id']}").json()["last_used_at"]:
            break
    last_used = admin.get(f"/keys/{used['id']}").json()["last_used_at"]

    assert last_used is not None
    assert datetime.fromisoformat(began) <= datetime.fromisoformat(last_used) <= datetime.now(UTC)
    assert admin.get(f"/keys/{unused['id']}").json()["last_used_at"] is None


@pytest.mark.parametrize("role", ROLES)
def test_everybody_learns_who_he_is(service: Service, role: Role) -> None:
    """GET /me names the key and what it may do."""
    answer = me(service, make_key(service, role).secret)

    assert {"name": f"the {role}", "role": role, "factory_ids": None, "expires_at": None} == answer.json()
    assert ["name", "role", "factory_ids", "expires_at"] == list(answer.json())


def test_who_has_no_key_is_nobody(service: Service) -> None:
    """GET /me is 401 where callers without a key may do nothing."""
    assert 401 == me(service, None).status_code


def test_who_has_no_key_is_anonymous_where_that_may_read(settings: Settings) -> None:
    """GET /me names the role of callers without a key, where there is one."""
    with Service(settings, anonymous_role="viewer") as service:
        answer = me(service, None)

    assert {"name": "anonymous", "role": "viewer", "factory_ids": None, "expires_at": None} == answer.json()


@pytest.mark.parametrize("role", ["none", "viewer", "admin"])
def test_a_wrong_key_is_refused_where_none_is_needed(settings: Settings, role: str) -> None:
    """Whoever sends a key means to be somebody."""
    with Service(settings, anonymous_role=role) as service:
        answer = me(service, WRONG_KEY)

    assert 401 == answer.status_code


def test_only_the_digest_of_a_key_is_stored(service: Service, admin: Client, holding: Holding) -> None:
    """The files of the database hold the SHA-256 of the secret, and the secret in no form."""
    secret = admin.post("/keys", json=NEW).json()["secret"]
    me(service, secret)

    assert [] != holding(sha256(secret.encode()).digest())
    assert [] == holding(secret[4:].encode())


def test_fault_30_a_key_stands_in_no_log_and_no_answer(
    service: Service,
    admin_key: KeyWithSecret,
    logged: Logged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a right nor a wrong one, nor where the service fails, is ever said again, at any level of the log."""
    secrets = [admin_key.secret, WRONG_KEY]
    said = []
    with caller(service) as client:
        for secret in secrets:
            header = f"Authorization: Bearer {secret}".encode()
            targets = (b"/me", b"/keys", b"/keys/1", b"/sprockets?nothing=1", b"/sprockets/999")
            said += [
                *(client.speak(get(target, header)) for target in targets),
                client.speak(get(b"/me", header, header)),
                client.speak(get(f"/me?key={secret}".encode())),
                client.speak(get(f"/sprockets?key={secret}".encode(), header)),
                client.speak(get(b"/me", f"Authorization: Basic {secret}".encode())),
            ]
        monkeypatch.setattr(service.database, "one", fail)
        said.append(client.speak(get(b"/me", f"Authorization: Bearer {WRONG_KEY}2".encode())))
    said.append(httpx.get(f"{service.address}/openapi.json", trust_env=False, verify=TLS).content)

    assert "127.0.0.1" == logged.lines("wrong key")[0]["client"]
    assert "RuntimeError" in logged.text
    assert [] == [secret for secret in secrets if secret in logged.text]
    assert [] == [answer for answer in said if any(secret.encode() in answer for secret in secrets)]


async def fail(*_sql: str, **_values: object) -> None:
    """Do what nobody foresaw."""
    raise RuntimeError("Nobody foresaw this.")

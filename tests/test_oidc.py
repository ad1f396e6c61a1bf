"""Single sign-on against a certified OpenID Connect provider that runs beside the service."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from certified_provider import CertifiedProvider
from harness import Clock, NewDatabase, Service, forget_everything
from keyholders import caller, make_key
from sprocket_factory.access import oidc_keys
from sprocket_factory.settings import Settings

INVALID = 'Bearer error="invalid_token"'

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]

TOKEN_SECONDS = 600
"""How long a token of the provider is good."""

FRESH_SECONDS = 600
PAUSE_SECONDS = 10
KEPT_SECONDS = 4 * 3600

RECORD = {"sprocket_production_actual": 32, "sprocket_production_goal": 33, "time": "2021-01-21T02:06:58Z"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock by which the age of the provider's keys is told."""
    hands = Clock()
    monkeypatch.setattr(oidc_keys, "time", SimpleNamespace(monotonic=hands.monotonic))
    return hands


@pytest.fixture(scope="module")
def settings(new_database: NewDatabase, provider: CertifiedProvider) -> Settings:
    """Return the settings of a service that trusts the provider."""
    return provider.settings(new_database(), oidc_factories_claim="factories")


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """Run a service that lets nobody in without a key or a token, and in which nothing is stored yet."""
    with Service(settings, anonymous_role="none") as running:
        running.run(running.database.write, forget_everything, by="test")
        yield running


def status(service: Service, token: str) -> int:
    """Return how the question is answered who one is."""
    with caller(service, token) as client:
        return client.get("/me").status_code


def add_factory(service: Service, name: str) -> int:
    """Return the id of a new factory."""
    with caller(service, make_key(service, "engineer").secret) as engineer:
        answer = engineer.post("/factories", json={"name": name})
    factory_id: int = answer.json()["id"]
    return factory_id


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_machine_comes_in_with_a_token_of_the_provider(
    service: Service, provider: CertifiedProvider, algorithm: str
) -> None:
    """Whatever it signs with: the claims say the role and the factories, and until when it is good."""
    began = datetime.now(UTC).timestamp()
    with caller(service, provider.token_for_machine("press-1", algorithm)) as machine:
        me = machine.get("/me").json()
    expires = datetime.fromisoformat(me.pop("expires_at")).timestamp()

    assert {"name": "press-1", "role": "operator", "factory_ids": [1]} == me
    assert int(began) + TOKEN_SECONDS <= expires <= began + TOKEN_SECONDS + 60


def test_a_person_comes_in_with_the_token_of_a_sign_in(service: Service, provider: CertifiedProvider) -> None:
    """Code flow with PKCE: the name is that of the person, and of two roles it is the higher one."""
    with caller(service, provider.sign_in("alice")["access_token"]) as alice:
        me = alice.get("/me").json()
        made = alice.post("/sprockets", json={"teeth": 20, "pitch_diameter": 1, "outside_diameter": 1, "pitch": 1})

    assert ("Alice Sheffield", "engineer", None) == (me["name"], me["role"], me["factory_ids"])
    assert 201 == made.status_code


def test_fault_29_the_id_token_of_the_same_sign_in_is_none(settings: Settings, provider: CertifiedProvider) -> None:
    """Not even where tokens of the type JWT are taken, and for an audience that is its client."""
    lax = replace(settings, oidc_audience="board", oidc_token_types="at+jwt,JWT")
    with (
        Service(lax, anonymous_role="none") as service,
        caller(service, provider.sign_in("alice")["id_token"]) as alice,
    ):
        answer = alice.get("/me")

    assert (401, INVALID) == (answer.status_code, answer.headers["WWW-Authenticate"])


@pytest.mark.parametrize("resource", [None, "urn:other"], ids=["opaque", "for another service"])
def test_fault_29_a_token_for_somebody_else_is_none(
    service: Service, provider: CertifiedProvider, resource: str | None
) -> None:
    """What the provider gives out for itself is no JWT; what it gives out for others names them."""
    answers = [
        status(service, provider.token_for_machine("press-1", resource=resource)),
        status(service, provider.sign_in("alice", resource)["access_token"]),
    ]

    assert [401, 401] == answers


def test_a_token_writes_for_its_factories_alone(service: Service, provider: CertifiedProvider) -> None:
    """As a key that is limited does: another's record is refused whole, whatever else is in the body."""
    ours, theirs = add_factory(service, "Sheffield"), add_factory(service, "Leeds")
    with caller(service, provider.token_for_machine("press-1")) as machine:
        statuses = [
            machine.put(f"/production/{ours}/{RECORD['time']}", json=RECORD).status_code,
            machine.put(f"/production/{theirs}/{RECORD['time']}", json=RECORD).status_code,
            machine.post("/production", json=[RECORD | {"factory_id": each} for each in (ours, theirs)]).status_code,
            machine.delete(f"/production/{theirs}/{RECORD['time']}").status_code,
            machine.post("/factories", json={"name": "Rotherham"}).status_code,
        ]
        stored = machine.get(f"/production/{theirs}").json()

    assert [201, 403, 403, 403, 403] == statuses
    assert [] == stored


def test_a_token_that_gives_no_role_is_right_but_may_do_nothing(service: Service, provider: CertifiedProvider) -> None:
    """403, for to sign in anew would not help; and it is no wrong key."""
    with caller(service, provider.token_for_machine("canteen")) as machine:
        answers = [machine.get("/me") for _ in range(30)]

    assert {403} == {answer.status_code for answer in answers}
    assert (
        "This token gives no role here. Its claim roles has to name one that is known." == answers[0].json()["detail"]
    )


def test_a_role_may_lie_deep_in_a_claim(settings: Settings, provider: CertifiedProvider) -> None:
    """Keycloak puts roles there."""
    with Service(replace(settings, oidc_role_claim="realm_access.roles"), anonymous_role="none") as service:
        statuses = [status(service, provider.token_for_machine(name)) for name in ("gateway", "press-1")]

    assert [200, 403] == statuses


def test_what_a_token_holder_sends_once_is_his_alone(service: Service, provider: CertifiedProvider) -> None:
    """An Idempotency-Key belongs to whom the token stands for: with his next token he gets the first answer again."""
    add_factory(service, "Barnsley")
    bodies = []
    for token in (
        provider.token_for_machine("catalogue"),
        provider.token_for_machine("catalogue", "ES256"),
        provider.sign_in("alice")["access_token"],
    ):
        with caller(service, token) as client:
            answer = client.post("/factories", json={"name": "Hull"}, headers={"Idempotency-Key": "1"})
            bodies.append((answer.status_code, answer.headers.get("Idempotent-Replayed")))

    assert [(201, None), (201, "true"), (409, None)] == bodies


def test_new_keys_of_the_provider_are_taken_and_old_ones_as_long_as_it_has_them(
    service: Service, provider: CertifiedProvider, clock: Clock
) -> None:
    """While both run: a rotation locks nobody out, and who holds a token by a key that was withdrawn is."""
    old = provider.token_for_machine("press-1")
    before = status(service, old)
    provider.tell("rotate")
    clock.seconds += PAUSE_SECONDS
    new = provider.token_for_machine("press-1")
    rotated = [status(service, new), status(service, old)]
    provider.tell("retire")
    clock.seconds += 2 * FRESH_SECONDS + 1
    retired = [status(service, new), status(service, old)]

    assert 200 == before
    assert [200, 200] == rotated
    assert [200, 401] == retired


def test_while_the_provider_is_away_who_has_a_token_works_on(
    service: Service, settings: Settings, provider: CertifiedProvider, clock: Clock
) -> None:
    """With a token that was seen before or not. A service that knows no keys says 503 until it gets some."""
    seen, unseen = (provider.token_for_machine("press-1") for _ in range(2))
    status(service, seen)
    provider.tell("close")
    try:
        clock.seconds += FRESH_SECONDS + 1
        away = [status(service, seen), status(service, unseen)]
        with Service(settings, anonymous_role="none") as newcomer, caller(newcomer, seen) as machine:
            without = machine.get("/me")
            provider.tell("open")
            clock.seconds += int(without.headers["Retry-After"])
            back = machine.get("/me").status_code
    finally:
        provider.tell("open")

    assert [200, 200] == away
    assert (503, "/problems/unavailable") == (without.status_code, without.json()["type"])
    assert 200 == back


def test_keys_and_tokens_work_side_by_side(service: Service, provider: CertifiedProvider) -> None:
    """An issuer takes nothing from those who have keys."""
    statuses = [
        status(service, make_key(service, "viewer").secret),
        status(service, provider.token_for_machine("press-1")),
    ]

    assert [200, 200] == statuses

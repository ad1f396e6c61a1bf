"""What a token gives: its role, its factories, its name, as its claims and the settings have it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Client, Service
from keyholders import caller
from own_issuer import OwnIssuer, ask
from sprocket_factory.access import oidc

ROLES = "viewer=reader, viewer=guest,operator=press team,engineer=designer,admin=boss,operator=a=b"

NAMESPACED = "https://sprocket.example/roles"

NO_ROLE = "This token gives no role here. Its claim {claim} has to name one that is known."


@pytest.fixture(scope="module")
def issuer() -> Iterator[OwnIssuer]:
    """Run an issuer."""
    with OwnIssuer() as running:
        yield running


@pytest.fixture(scope="module")
def services(issuer: OwnIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    """Run a service for each claim that roles may come from."""
    running: dict[str, Service] = {}
    for claim in ("roles", "realm_access.roles", NAMESPACED, "scope", "scp"):
        database_url = f"sqlite:///{tmp_path_factory.mktemp('roles') / 'factory.db'}"
        settings = issuer.settings(
            database_url=database_url, oidc_roles=ROLES, oidc_role_claim=claim, oidc_factories_claim="plant.factories"
        )
        running[claim] = Service(settings, anonymous_role="none")
        running[claim].start()
    yield running
    for service in running.values():
        service.stop()
    for service in running.values():
        service.wait()


@pytest.fixture
def service(services: dict[str, Service]) -> Service:
    """Return the service that looks for roles where they are by default."""
    return services["roles"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("reader", "viewer"),
        (["reader"], "viewer"),
        (["guest"], "viewer"),
        (["press team"], "operator"),
        (["a=b"], "operator"),
        (["designer", "reader"], "engineer"),
        (["reader", "designer", "press team"], "engineer"),
        (["boss", "reader", "unknown"], "admin"),
        (["unknown", 7, None, {"value": "boss"}, ["boss"], "reader"], "viewer"),
    ],
)
def test_a_role_is_the_highest_of_those_that_the_claim_names(
    service: Service, issuer: OwnIssuer, said: Any, expected: str
) -> None:
    """A text or a list of texts; what the settings do not name is passed over."""
    answer = ask(service, issuer.token(roles=said))

    assert (200, expected) == (answer.status_code, answer.json()["role"])


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "",
        "Reader",
        "read",
        "reader ",
        "reader guest",
        "viewer",
        "admin",
        "press",
        ["reader guest"],
        [["reader"]],
        {"reader": True},
        {"roles": ["reader"]},
        7,
        True,
    ],
    ids=repr,
)
def test_a_claim_that_names_no_role_gives_none(service: Service, issuer: OwnIssuer, said: Any) -> None:
    """To the letter: not even the name of a role, unless the settings say so. The token is right, so it is 403."""
    answer = ask(service, issuer.token(roles=said))

    assert (403, "/problems/forbidden") == (answer.status_code, answer.json()["type"])
    assert NO_ROLE.format(claim="roles") == answer.json()["detail"]


@pytest.mark.parametrize(
    ("claim", "claims", "expected"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["boss"]}}, 200),
        ("realm_access.roles", {"realm_access.roles": ["boss"]}, 200),
        ("realm_access.roles", {"realm_access": ["boss"]}, 403),
        ("realm_access.roles", {"realm_access": "roles"}, 403),
        ("realm_access.roles", {"realm_access": None}, 403),
        ("realm_access.roles", {"roles": ["boss"]}, 403),
        (NAMESPACED, {NAMESPACED: ["boss"]}, 200),
        (NAMESPACED, {"https://sprocket": {"example/roles": ["boss"]}}, 200),
        (NAMESPACED, {"roles": ["boss"]}, 403),
        ("scope", {"scope": "openid boss profile"}, 200),
        ("scope", {"scope": "openid bossy"}, 403),
        ("scp", {"scp": "boss"}, 200),
        ("scp", {"scp": ["openid", "boss"]}, 200),
    ],
    ids=str,
)
def test_roles_may_come_from_any_claim(
    services: dict[str, Service], issuer: OwnIssuer, claim: str, claims: dict[str, Any], expected: int
) -> None:
    """From a member of a claim, from one whose name is an address, and word for word from scopes."""
    answer = ask(services[claim], issuer.token(**({"roles": ["reader"]} | claims)))

    assert expected == answer.status_code


@pytest.mark.parametrize("role", ["reader", "press team"])
@pytest.mark.parametrize(
    ("said", "expected"),
    [([1, 2], [1, 2]), ([2, 2], [2]), (["2", "1"], [1, 2]), (3, [3]), ("3", [3]), ([], []), (None, [])],
    ids=repr,
)
def test_a_token_is_limited_to_the_factories_that_its_claim_names(
    service: Service, issuer: OwnIssuer, role: str, said: Any, expected: list[int]
) -> None:
    """Numbers, or texts where an issuer has nothing else. Whoever should have the claim and has not is let at none."""
    answer = ask(service, issuer.token(roles=role, plant={"factories": said} if said is not None else None))

    assert (200, expected) == (answer.status_code, answer.json()["factory_ids"])


@pytest.mark.parametrize(
    "said",
    [
        "Leeds",
        ["1", "Leeds"],
        "1,2",
        "*",
        {"1": True},
        [0],
        [-1],
        [2**63],
        [1.5],
        [True],
        [None],
        [[1]],
        list(range(1, 1002)),
    ],
    ids=lambda said: f"{said!s:.20}",
)
def test_a_limit_that_cannot_be_read_opens_nothing(service: Service, issuer: OwnIssuer, said: Any) -> None:
    """403, which names the claim: the token is right, but nobody knows what it is meant to allow."""
    answer = ask(service, issuer.token(roles="press team", plant={"factories": said}))

    assert (403, "/problems/forbidden") == (answer.status_code, answer.json()["type"])
    assert answer.json()["detail"].endswith("Its claim plant.factories has to be a list of ids.")


@pytest.mark.parametrize("role", ["designer", "boss", ["designer", "press team"]])
@pytest.mark.parametrize("said", [[1], [], "1", False])
def test_an_engineer_who_is_limited_is_refused(service: Service, issuer: OwnIssuer, role: Any, said: Any) -> None:
    """That role cannot be limited, and to pass the limit over would allow more than the issuer meant to."""
    answer = ask(service, issuer.token(roles=role, plant={"factories": said}))

    assert (403, "/problems/forbidden") == (answer.status_code, answer.json()["type"])
    assert answer.json()["detail"].endswith("to factories, and that one cannot be limited.")


@pytest.mark.parametrize("role", ["designer", "boss"])
def test_an_engineer_who_is_not_limited_comes_in(service: Service, issuer: OwnIssuer, role: str) -> None:
    """The claim is missing, as it has to be."""
    answer = ask(service, issuer.token(roles=role))

    assert (200, None) == (answer.status_code, answer.json()["factory_ids"])


def test_without_a_claim_for_factories_nobody_is_limited(issuer: OwnIssuer, tmp_path: Path) -> None:
    """A claim that the settings do not name says nothing."""
    settings = issuer.settings(database_url=f"sqlite:///{tmp_path / 'factory.db'}")
    with Service(settings, anonymous_role="none") as service:
        answer = ask(service, issuer.token(plant={"factories": [1]}, factories=[1]))

    assert (200, None) == (answer.status_code, answer.json()["factory_ids"])


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"preferred_username": "alice", "name": "Alice Sheffield"}, "alice"),
        ({"name": "Alice Sheffield"}, "Alice Sheffield"),
        ({"name": " J\u00f6rg \u674e "}, "J\u00f6rg \u674e"),
        ({}, "press-1"),
        ({"client_id": "board"}, "press-1"),
        ({"preferred_username": "", "name": "Alice"}, "Alice"),
        ({"preferred_username": "a\nb", "name": "a\x00b"}, "press-1"),
        ({"preferred_username": "evil\u202etxt"}, "press-1"),
        ({"preferred_username": "\ud800"}, "press-1"),
        ({"preferred_username": "\u2800"}, "press-1"),
        ({"preferred_username": "a" * 101}, "press-1"),
        ({"name": {"given": "Alice"}}, "press-1"),
        ({"sub": "b" * 255}, "b" * 100),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_caller_is_called_as_the_token_says(
    service: Service, issuer: OwnIssuer, claims: dict[str, Any], expected: str
) -> None:
    """By the first of preferred_username, name and sub that is a name without control characters."""
    answer = ask(service, issuer.token(**claims))

    assert (200, expected) == (answer.status_code, answer.json()["name"])


def test_a_refusal_names_the_caller_and_his_role(service: Service, issuer: OwnIssuer) -> None:
    """As it does for a key."""
    with caller(service, issuer.token(preferred_username="alice")) as alice:
        answer = alice.post("/factories", json={"name": "Sheffield"})

    assert 403 == answer.status_code
    assert answer.json()["detail"].startswith("This needs the role engineer, and alice is viewer.")


def test_fault_34_a_new_token_with_another_role_counts_at_once(service: Service, issuer: OwnIssuer) -> None:
    """What was remembered belongs to the token, and not to the caller."""
    roles = [ask(service, issuer.token(roles=said)).json()["role"] for said in ("boss", "reader", "designer")]

    assert ["admin", "viewer", "engineer"] == roles


def test_an_administrator_by_token_gives_out_keys(service: Service, issuer: OwnIssuer) -> None:
    """The role is that of the table, wherever it comes from."""
    with caller(service, issuer.token(roles="boss")) as boss:
        made = boss.post("/keys", json={"name": "press 1", "role": "operator"})
    with Client(service.address) as holder:
        answer = holder.get("/me", headers={"Authorization": f"Bearer {made.json()['secret']}"})

    assert [201, 200] == [made.status_code, answer.status_code]


def test_more_tokens_than_are_remembered_are_taken(
    service: Service, issuer: OwnIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered is bounded; here at two tokens."""
    monkeypatch.setattr(oidc, "MAX_REMEMBERED", 2)
    tokens = [issuer.token(sub=f"press-{number}") for number in range(5)]
    names = [ask(service, token).json()["name"] for token in tokens * 2]

    assert [f"press-{number}" for number in range(5)] * 2 == names

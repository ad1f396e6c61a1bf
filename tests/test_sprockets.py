"""The catalogue: adding to it, reading it, replacing what is in it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import Client, Service, a_sprocket, pointers
from sprocket_factory.database import Transaction
from sprocket_factory.entities.sprocket import NewSprocket, add_sprocket

MEMBERS = ["id", "teeth", "pitch_diameter", "outside_diameter", "pitch"]

JSON = {"Content-Type": "application/json"}


async def add_many(tx: Transaction, count: int) -> None:
    """Add sprockets that differ in their teeth."""
    for number in range(count):
        await add_sprocket(tx, NewSprocket(teeth=3 + number, pitch_diameter=1, outside_diameter=1, pitch=1))


def test_a_new_sprocket_can_be_read_at_its_location(engineer: Client, viewer: Client) -> None:
    """POST answers 201 with the stored sprocket and where it is."""
    answer = engineer.post("/sprockets", json=a_sprocket())

    assert 201 == answer.status_code
    assert {"id": 1} | a_sprocket() == answer.json()
    assert answer.json() == viewer.get(viewer.address + answer.headers["Location"]).json()


def test_the_members_of_a_sprocket_come_in_their_promised_order(engineer: Client) -> None:
    """The order is that of the contract in every answer, whatever order they were sent in."""
    posted = engineer.post("/sprockets", json=dict(reversed(a_sprocket().items()))).json()
    replaced = engineer.put("/sprockets/1", json=dict(reversed(a_sprocket().items()))).json()
    listed = engineer.get("/sprockets").json()[0]
    read = engineer.get("/sprockets/1").json()

    assert [MEMBERS] * 4 == [list(posted), list(replaced), list(listed), list(read)]


def test_lengths_go_out_as_floats(engineer: Client) -> None:
    """A length that was sent as 5 goes out as 5.0 in every answer; teeth stay whole."""
    whole = a_sprocket(pitch_diameter=5, outside_diameter=5, pitch=5)
    posted = engineer.post("/sprockets", json=whole).json()
    replaced = engineer.put("/sprockets/1", json=whole).json()
    listed = engineer.get("/sprockets").json()[0]
    read = engineer.get("/sprockets/1").json()

    assert [[int, int, float, float, float]] * 4 == [
        [type(value) for value in answer.values()] for answer in (posted, replaced, listed, read)
    ]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("teeth", 3),
        ("teeth", 10_000),
        ("pitch_diameter", 5e-324),
        ("outside_diameter", 1e6),
        ("pitch", 1_000_000),
        ("pitch", 0.1 + 0.2),
    ],
)
def test_a_sprocket_within_the_rules_is_stored_as_it_is(
    engineer: Client, viewer: Client, member: str, value: float
) -> None:
    """The bounds belong to what is allowed, and no digit is lost."""
    answer = engineer.post("/sprockets", json=a_sprocket(**{member: value}))

    assert 201 == answer.status_code
    assert value == viewer.get("/sprockets/1").json()[member]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("teeth", 2),
        ("teeth", 10_001),
        ("pitch_diameter", 0),
        ("pitch_diameter", 1_000_000.0000000001),
        ("outside_diameter", 0),
        ("outside_diameter", 1_000_001),
        ("pitch", 0),
        ("pitch", 1e300),
    ],
)
def test_a_sprocket_outside_the_rules_is_refused(engineer: Client, member: str, value: float) -> None:
    """The refusal points at the member, and nothing is stored."""
    answer = engineer.post("/sprockets", json=a_sprocket(**{member: value}))

    assert 422 == answer.status_code
    assert [f"/{member}"] == pointers(answer.json())
    assert [] == engineer.get("/sprockets").json()


def test_a_sprocket_without_teeth_is_refused(engineer: Client) -> None:
    """Every member is required; the refusal points at the missing one, and nothing is stored."""
    toothless = {name: value for name, value in a_sprocket().items() if name != "teeth"}
    answer = engineer.post("/sprockets", json=toothless)

    assert 422 == answer.status_code
    assert ["/teeth"] == pointers(answer.json())
    assert [] == engineer.get("/sprockets").json()


def test_every_wrong_member_is_named_in_one_answer(engineer: Client) -> None:
    """Unknown, missing and wrong members come in one refusal, so that one look is enough to mend a request."""
    answer = engineer.post("/sprockets", json={"teeth": 2, "pitch_diameter": "wide", "outside": 1, "pitch": 0})

    assert 422 == answer.status_code
    assert {"/teeth", "/pitch_diameter", "/outside", "/outside_diameter", "/pitch"} == set(pointers(answer.json()))


def test_every_wrong_member_is_named_beside_a_number_that_no_machine_holds(engineer: Client) -> None:
    """A number out of all range is one fault among the others and does not hide them."""
    answer = engineer.post(
        "/sprockets",
        content=b'{"teeth": 2, "width": 1, "pitch_diameter": 1e999, "outside_diameter": 1, "pitch": 0}',
        headers=JSON,
    )

    assert 422 == answer.status_code
    assert {"/teeth", "/width", "/pitch_diameter", "/pitch"} == set(pointers(answer.json()))


@pytest.mark.parametrize(
    ("slip", "meant"), [("teethe", "teeth"), ("pitch_diametre", "pitch_diameter"), ("Pitch", "pitch")]
)
def test_the_nearest_known_member_is_proposed(engineer: Client, slip: str, meant: str) -> None:
    """An unknown member is named, with the known one that was probably meant."""
    answer = engineer.post("/sprockets", json=a_sprocket(**{slip: 1}))

    assert 422 == answer.status_code
    assert [f"/{slip}"] == pointers(answer.json())
    assert f"{meant}?" in answer.json()["errors"][0]["detail"]


def test_a_new_sprocket_may_not_choose_its_id(engineer: Client) -> None:
    """The service gives ids; one in the body is refused by name."""
    answer = engineer.post("/sprockets", json=a_sprocket(id=7))

    assert 422 == answer.status_code
    assert ["/id"] == pointers(answer.json())
    assert [] == engineer.get("/sprockets").json()


@pytest.mark.parametrize("body", [b"", b"{", b"teeth=20", b'{"teeth": 20,}'])
def test_a_body_that_is_no_json_is_refused(engineer: Client, body: bytes) -> None:
    """What cannot be read is 400, and nothing is stored."""
    answer = engineer.post("/sprockets", content=body, headers=JSON)

    assert 400 == answer.status_code
    assert [] == engineer.get("/sprockets").json()


def test_equal_sprockets_are_two(engineer: Client) -> None:
    """A sprocket is known by its id alone: the same measures posted twice are two entries."""
    engineer.post("/sprockets", json=a_sprocket())
    engineer.post("/sprockets", json=a_sprocket())

    assert [{"id": 1} | a_sprocket(), {"id": 2} | a_sprocket()] == engineer.get("/sprockets").json()


def test_sprockets_posted_at_once_each_get_an_id_of_their_own(engineer: Client) -> None:
    """Callers that come together are each answered with what they sent, and each finds it at its own id."""

    def post(teeth: int) -> tuple[int, int]:
        answer = engineer.post("/sprockets", json=a_sprocket(teeth=teeth)).json()
        assert teeth == answer["teeth"]
        return answer["id"], teeth

    with ThreadPoolExecutor(8) as callers:
        posted = dict(callers.map(post, range(10, 90)))

    assert posted == {sprocket["id"]: sprocket["teeth"] for sprocket in engineer.get("/sprockets").json()}
    assert 80 == len(posted)


def test_an_empty_catalogue_is_an_empty_list(viewer: Client) -> None:
    """A list without entries is 200 and `[]`, not 404."""
    answer = viewer.get("/sprockets")

    assert (200, []) == (answer.status_code, answer.json())


def test_the_catalogue_is_listed_by_id(engineer: Client, viewer: Client) -> None:
    """The order is that of the ids, whatever was changed last."""
    for teeth in (30, 20, 10):
        engineer.post("/sprockets", json=a_sprocket(teeth=teeth))
    engineer.put("/sprockets/2", json=a_sprocket(teeth=99))

    assert [(1, 30), (2, 99), (3, 10)] == [
        (sprocket["id"], sprocket["teeth"]) for sprocket in viewer.get("/sprockets").json()
    ]


def test_a_long_catalogue_comes_whole_and_in_order(viewer: Client, service: Service) -> None:
    """A list without limit is whole, however long."""
    service.run(service.database.write, add_many, 2500, by="test")

    assert [(number, number + 2) for number in range(1, 2501)] == [
        (sprocket["id"], sprocket["teeth"]) for sprocket in viewer.get("/sprockets").json()
    ]


def test_a_sprocket_is_replaced_whole(engineer: Client, viewer: Client) -> None:
    """PUT answers 200 with what is stored from now on: every member new, the id the same."""
    new = {"teeth": 11, "pitch_diameter": 1.5, "outside_diameter": 2.5, "pitch": 3.5}
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.put("/sprockets/1", json=new)

    assert (200, {"id": 1} | new) == (answer.status_code, answer.json())
    assert {"id": 1} | new == viewer.get("/sprockets/1").json()


def test_a_replacement_changes_no_other_sprocket(engineer: Client, viewer: Client) -> None:
    """PUT writes what its path names and nothing else."""
    engineer.post("/sprockets", json=a_sprocket())
    engineer.post("/sprockets", json=a_sprocket())
    engineer.put("/sprockets/1", json=a_sprocket(teeth=99))

    assert {"id": 2} | a_sprocket() == viewer.get("/sprockets/2").json()


def test_a_replacement_sent_twice_is_the_same(engineer: Client, viewer: Client) -> None:
    """PUT may be repeated: the answer and what is stored do not change."""
    engineer.post("/sprockets", json=a_sprocket())
    first = engineer.put("/sprockets/1", json=a_sprocket(teeth=99))
    second = engineer.put("/sprockets/1", json=a_sprocket(teeth=99))

    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert [first.json()] == viewer.get("/sprockets").json()


@pytest.mark.parametrize("member", ["teeth", "pitch_diameter", "outside_diameter", "pitch"])
def test_a_replacement_lacks_no_member(engineer: Client, member: str) -> None:
    """PUT replaces whole: what leaves a member out is refused, and what was stored stays."""
    engineer.post("/sprockets", json=a_sprocket())
    incomplete = {name: value for name, value in a_sprocket(teeth=99).items() if name != member}
    answer = engineer.put("/sprockets/1", json=incomplete)

    assert 422 == answer.status_code
    assert [f"/{member}"] == pointers(answer.json())
    assert {"id": 1} | a_sprocket() == engineer.get("/sprockets/1").json()


def test_a_replacement_may_repeat_its_own_id(engineer: Client) -> None:
    """What was read can be sent back as it is."""
    stored = engineer.post("/sprockets", json=a_sprocket()).json()
    answer = engineer.put("/sprockets/1", json=stored)

    assert (200, stored) == (answer.status_code, answer.json())


@pytest.mark.parametrize("other", [2, 0, -1, 2**63, "1", True, None])
def test_a_replacement_may_not_bring_another_id(engineer: Client, other: object) -> None:
    """The path says what is replaced; a body that says otherwise is refused, and what was stored stays."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.put("/sprockets/1", json=a_sprocket(teeth=99, id=other))

    assert 422 == answer.status_code
    assert ["/id"] == pointers(answer.json())
    assert [{"id": 1} | a_sprocket()] == engineer.get("/sprockets").json()


def test_a_replacement_that_is_no_json_is_refused(engineer: Client) -> None:
    """What cannot be read is 400, and what was stored stays."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.put("/sprockets/1", content=b"{", headers=JSON)

    assert 400 == answer.status_code
    assert {"id": 1} | a_sprocket() == engineer.get("/sprockets/1").json()


@pytest.mark.parametrize("sprocket_id", ["1", "9223372036854775807", "seven"])
def test_an_unknown_sprocket_is_not_replaced(engineer: Client, sprocket_id: str) -> None:
    """PUT of an id that nothing has is 404 and creates nothing: the service gives ids."""
    answer = engineer.put(f"/sprockets/{sprocket_id}", json=a_sprocket())

    assert 404 == answer.status_code
    assert [] == engineer.get("/sprockets").json()


@pytest.mark.parametrize("sprocket_id", ["2", "9223372036854775807", "seven"])
def test_an_unknown_sprocket_is_not_found(engineer: Client, viewer: Client, sprocket_id: str) -> None:
    """An id that nothing has, or that is none, is 404."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = viewer.get(f"/sprockets/{sprocket_id}")

    assert 404 == answer.status_code
    assert "/problems/not-found" == answer.json()["type"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/sprockets"), ("PATCH", "/sprockets"), ("DELETE", "/sprockets"), ("POST", "/sprockets/1")],
)
def test_a_wrong_method_is_refused_and_changes_nothing(engineer: Client, method: str, path: str) -> None:
    """A method that a path does not know is 405."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.request(method, path, json=a_sprocket(teeth=99))

    assert 405 == answer.status_code
    assert [{"id": 1} | a_sprocket()] == engineer.get("/sprockets").json()

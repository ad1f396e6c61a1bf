"""The factories."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import Client

MEMBERS = ["id", "name", "time_zone"]

JSON = {"Content-Type": "application/json"}
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}

SHEFFIELD = {"name": "Sheffield", "time_zone": "Europe/London"}
OSAKA = {"name": "Osaka", "time_zone": "Asia/Tokyo"}

FACTORY_EMOJI = "\U0001f3ed"

BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

NO_IDS = ["0", "-1", "9223372036854775808", "sheffield", "1.0", "%31%00"]


def pointers(problem: dict[str, list[dict[str, str]]]) -> list[str]:
    """Return where a problem says that something is wrong."""
    return [error["pointer"] for error in problem["errors"]]


def a_record(factory_id: int) -> dict[str, object]:
    """Return a record of production as one posts it."""
    return {
        "factory_id": factory_id,
        "time": "2021-01-21T02:06:58Z",
        "sprocket_production_actual": 29,
        "sprocket_production_goal": 32,
    }


def test_a_new_factory_can_be_read_at_its_location(engineer: Client, viewer: Client) -> None:
    """POST answers 201 with the stored factory and where it is."""
    answer = engineer.post("/factories", json=SHEFFIELD)

    assert (201, {"id": 1} | SHEFFIELD) == (answer.status_code, answer.json())
    assert answer.json() == viewer.get(viewer.address + answer.headers["Location"]).json()


def test_a_new_factory_keeps_utc_unless_it_says_otherwise(engineer: Client, viewer: Client) -> None:
    """The time zone may be left out of POST."""
    answer = engineer.post("/factories", json={"name": "Sheffield"})

    assert (201, "UTC") == (answer.status_code, answer.json()["time_zone"])
    assert "UTC" == viewer.get("/factories/1").json()["time_zone"]


def test_the_members_of_a_factory_come_in_their_promised_order(engineer: Client) -> None:
    """The order is that of the contract in every answer, whatever order they were sent in."""
    posted = engineer.post("/factories", json=dict(reversed(SHEFFIELD.items()))).json()
    replaced = engineer.put("/factories/1", json=dict(reversed(SHEFFIELD.items()))).json()
    changed = engineer.patch("/factories/1", json=dict(reversed(OSAKA.items()))).json()
    listed = engineer.get("/factories").json()[0]
    read = engineer.get("/factories/1").json()

    assert [MEMBERS] * 5 == [list(posted), list(replaced), list(changed), list(listed), list(read)]


def test_an_answer_about_a_factory_names_its_version(engineer: Client) -> None:
    """The ETag of a stored factory is the same, whoever tells it: POST, GET, HEAD, a PUT and a PATCH of the same."""
    answers = [
        engineer.post("/factories", json=SHEFFIELD),
        engineer.get("/factories/1"),
        engineer.head("/factories/1"),
        engineer.put("/factories/1", json=SHEFFIELD),
        engineer.patch("/factories/1", json=SHEFFIELD),
    ]

    assert [answers[0].headers["ETag"]] * 5 == [answer.headers["ETag"] for answer in answers]


@pytest.mark.parametrize(
    "time_zone",
    ["UTC", "Asia/Kolkata", "America/Argentina/Buenos_Aires", "Etc/GMT+12", "Pacific/Chatham", "US/Eastern"],
)
def test_any_time_zone_of_the_iana_may_be_kept(engineer: Client, viewer: Client, time_zone: str) -> None:
    """Names of every form, and old ones, are stored as they are."""
    answer = engineer.post("/factories", json=SHEFFIELD | {"time_zone": time_zone})

    assert 201 == answer.status_code
    assert time_zone == viewer.get("/factories/1").json()["time_zone"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("Europe/Lodnon", "Europe/London"),
        ("Europe/London ", "Europe/London"),
        ("europe/london", "Europe/London"),
        ("Asia/Tokio", "Asia/Tokyo"),
        ("utc", "UTC"),
    ],
)
def test_the_nearest_time_zone_is_proposed(engineer: Client, method: str, slip: str, meant: str) -> None:
    """An unknown time zone is refused with the known one that was probably meant, and what was stored stays."""
    engineer.post("/factories", json=SHEFFIELD)
    answer = engineer.request(
        method, "/factories" if method == "POST" else "/factories/1", json=OSAKA | {"time_zone": slip}
    )

    assert (422, ["/time_zone"]) == (answer.status_code, pointers(answer.json()))
    assert f"Did you mean {meant}?" in answer.json()["errors"][0]["detail"]
    assert [{"id": 1} | SHEFFIELD] == engineer.get("/factories").json()


@pytest.mark.parametrize(
    "time_zone",
    ["", "Mars/Olympus", "Europe", "GMT+1", "+01:00", "../UTC", "/etc/localtime", "UTC\0", "zones", 0, None, ["UTC"]],
)
def test_what_is_no_time_zone_is_refused(engineer: Client, time_zone: object) -> None:
    """The refusal points at the member, and nothing is stored."""
    answer = engineer.post("/factories", json=SHEFFIELD | {"time_zone": time_zone})

    assert (422, ["/time_zone"]) == (answer.status_code, pointers(answer.json()))
    assert [] == engineer.get("/factories").json()


@pytest.mark.parametrize(
    "name",
    [
        "S",
        "0",
        "x" * 100,
        FACTORY_EMOJI * 100,
        "Z\u00fcrich \u2013 Werk n\u00ba 7",
        "\u5de5\u5834",
        "'; DROP TABLE factories; --",
    ],
    ids=ascii,
)
def test_a_name_within_the_rules_is_stored_as_it_is(engineer: Client, viewer: Client, name: str) -> None:
    """A name has 1 to 100 characters of any script; characters are counted, not bytes."""
    answer = engineer.post("/factories", json={"name": name})

    assert 201 == answer.status_code
    assert name == viewer.get("/factories/1").json()["name"]


@pytest.mark.parametrize("name", ["", "x" * 101, FACTORY_EMOJI * 101, 7, True, None, ["Sheffield"]], ids=ascii)
def test_a_name_outside_the_rules_is_refused(engineer: Client, name: object) -> None:
    """The refusal points at the member, and nothing is stored."""
    answer = engineer.post("/factories", json={"name": name})

    assert (422, ["/name"]) == (answer.status_code, pointers(answer.json()))
    assert [] == engineer.get("/factories").json()


@pytest.mark.parametrize("space", [" ", "\u00a0", "\u2003", "\u3000"], ids=ascii)
@pytest.mark.parametrize("name", ["{}Sheffield", "Sheffield{}", "{}"])
def test_a_name_with_white_space_at_an_end_is_refused(engineer: Client, name: str, space: str) -> None:
    """Two names that nobody can tell apart are one too many; nothing is stored."""
    answer = engineer.post("/factories", json={"name": name.format(space)})

    assert (422, ["/name"]) == (answer.status_code, pointers(answer.json()))
    assert [] == engineer.get("/factories").json()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    "name",
    [*(f"Shef{control}field" for control in "\0\t\n\r\x1b\x7f\x85\u2028\u2029" + BIDI_CONTROLS), "x" * 1_000_000],
    ids=lambda name: ascii(name[:12]),
)
def test_fault_16_a_name_that_deceives_is_refused(engineer: Client, method: str, name: str) -> None:
    """Control characters, marks that turn text around and endless names are 422, and what was stored stays."""
    engineer.post("/factories", json=SHEFFIELD)
    answer = engineer.request(method, "/factories" if method == "POST" else "/factories/1", json=OSAKA | {"name": name})

    assert (422, ["/name"]) == (answer.status_code, pointers(answer.json()))
    assert [{"id": 1} | SHEFFIELD] == engineer.get("/factories").json()


def test_fault_16_half_a_surrogate_pair_is_no_name(engineer: Client) -> None:
    """What stands for no character is 422, and nothing is stored."""
    answer = engineer.post("/factories", content=rb'{"name": "Shef\ud83cfield"}', headers=JSON)

    assert (422, ["/name"]) == (answer.status_code, pointers(answer.json()))
    assert [] == engineer.get("/factories").json()


@pytest.mark.parametrize("body", [{"name": " ", "time_zone": "Mars"}, {"name": 1, "time_zone": 2, "town": 3}])
def test_everything_wrong_with_a_factory_is_named_in_one_answer(engineer: Client, body: dict[str, object]) -> None:
    """One look at the refusal is enough to mend the request."""
    answer = engineer.post("/factories", json=body)

    assert 422 == answer.status_code
    assert {f"/{member}" for member in body} == set(pointers(answer.json()))


def test_a_factory_without_a_name_is_refused(engineer: Client) -> None:
    """The name is required; nothing is stored."""
    answer = engineer.post("/factories", json={"time_zone": "UTC"})

    assert (422, ["/name"]) == (answer.status_code, pointers(answer.json()))
    assert [] == engineer.get("/factories").json()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_an_unknown_member_of_a_factory_is_refused_with_the_nearest(engineer: Client, method: str) -> None:
    """A member that nobody heeds is named, with the known one that was probably meant; what was stored stays."""
    engineer.post("/factories", json=SHEFFIELD)
    path = "/factories" if method == "POST" else "/factories/1"
    answer = engineer.request(method, path, json=OSAKA | {"timezone": "UTC"})

    assert (422, ["/timezone"]) == (answer.status_code, pointers(answer.json()))
    assert "time_zone?" in answer.json()["errors"][0]["detail"]
    assert [{"id": 1} | SHEFFIELD] == engineer.get("/factories").json()


def test_a_new_factory_may_not_choose_its_id(engineer: Client) -> None:
    """The service gives ids; one in the body is refused by name."""
    answer = engineer.post("/factories", json=SHEFFIELD | {"id": 7})

    assert (422, ["/id"]) == (answer.status_code, pointers(answer.json()))
    assert [] == engineer.get("/factories").json()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_name_belongs_to_one_factory(engineer: Client, method: str) -> None:
    """A name that another has is 409, which says who has it; what was stored stays."""
    engineer.post("/factories", json=SHEFFIELD)
    engineer.post("/factories", json=OSAKA)
    answer = engineer.request(
        method, "/factories" if method == "POST" else "/factories/2", json={"name": "Sheffield", "time_zone": "UTC"}
    )

    assert (409, "/problems/conflict") == (answer.status_code, answer.json()["type"])
    assert "The factory 1 has this name already." in answer.json()["detail"]
    assert [{"id": 1} | SHEFFIELD, {"id": 2} | OSAKA] == engineer.get("/factories").json()


def test_one_of_many_who_want_a_name_at_once_gets_it(engineer: Client) -> None:
    """The first is answered with 201 and all the others with 409."""
    with ThreadPoolExecutor(8) as callers:
        statuses = list(callers.map(lambda _: engineer.post("/factories", json=SHEFFIELD).status_code, range(16)))

    assert [201] + [409] * 15 == sorted(statuses)
    assert 1 == len(engineer.get("/factories").json())


def test_a_name_that_was_given_up_is_free(engineer: Client) -> None:
    """After its factory was renamed or removed another may have the name."""
    engineer.post("/factories", json=SHEFFIELD)
    engineer.put("/factories/1", json=OSAKA)
    renamed = engineer.post("/factories", json=SHEFFIELD)
    engineer.delete("/factories/2")
    removed = engineer.post("/factories", json=SHEFFIELD)

    assert [201, 201] == [renamed.status_code, removed.status_code]


def test_no_factories_are_an_empty_list(viewer: Client) -> None:
    """A list without entries is 200 and `[]`, not 404."""
    answer = viewer.get("/factories")

    assert (200, []) == (answer.status_code, answer.json())


def test_factories_are_listed_by_id(engineer: Client, viewer: Client) -> None:
    """The order is that of the ids, whatever they are called and whichever was changed last."""
    for name in ("York", "Osaka", "Leeds"):
        engineer.post("/factories", json={"name": name})
    engineer.patch("/factories/1", json={"name": "Zwolle"})

    assert [(1, "Zwolle"), (2, "Osaka"), (3, "Leeds")] == [
        (factory["id"], factory["name"]) for factory in viewer.get("/factories").json()
    ]


@pytest.mark.parametrize("path", ["/factories", "/factories/1", "/factories/2"])
def test_head_answers_as_get_without_the_body(engineer: Client, viewer: Client, path: str) -> None:
    """Status, type, length and version of HEAD are those of GET."""
    engineer.post("/factories", json=SHEFFIELD)
    head, get = viewer.head(path), viewer.get(path)

    assert (get.status_code, b"") == (head.status_code, head.content)
    assert [get.headers.get(name) for name in ("Content-Type", "ETag")] == [
        head.headers.get(name) for name in ("Content-Type", "ETag")
    ]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("factory_id", ["2", "9223372036854775807", *NO_IDS])
def test_an_unknown_factory_is_not_found(engineer: Client, method: str, factory_id: str) -> None:
    """An id that nothing has, or that is none, is 404 for every method; nothing is created or removed."""
    engineer.post("/factories", json=SHEFFIELD)
    body = OSAKA if method in {"PUT", "PATCH"} else None
    answer = engineer.request(method, f"/factories/{factory_id}", json=body)

    assert (404, "/problems/not-found") == (answer.status_code, answer.json()["type"])
    assert [{"id": 1} | SHEFFIELD] == engineer.get("/factories").json()


def test_a_factory_is_replaced_whole(engineer: Client, viewer: Client) -> None:
    """PUT answers 200 with what is stored from now on: name and zone new, the id the same."""
    engineer.post("/factories", json=SHEFFIELD)
    answer = engineer.put("/factories/1", json=OSAKA)

    assert (200, {"id": 1} | OSAKA) == (answer.status_code, answer.json())
    assert {"id": 1} | OSAKA == viewer.get("/factories/1").json()


def test_a_replacement_sent_twice_is_the_same(engineer: Client, viewer: Client) -> None:
    """PUT may be repeated, and a factory's own name is not taken: the answer and what is stored do not change."""
    engineer.post("/factories", json=SHEFFIELD)
    first = engineer.put("/factories/1", json=OSAKA)
    second = engineer.put("/factories/1", json=OSAKA)

    assert (200, first.json()) == (second.status_code, second.json())
    assert [first.json()] == viewer.get("/factories").json()


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_change_leaves_other_factories_and_all_production_alone(engineer: Client, method: str) -> None:
    """What is written is what the path names and nothing else: production stays with its factory under a new name."""
    engineer.post("/factories", json=SHEFFIELD)
    engineer.post("/factories", json={"name": "Leeds"})
    engineer.post("/production", json=a_record(1))
    engineer.request(method, "/factories/1", json=OSAKA)

    assert {"id": 2, "name": "Leeds", "time_zone": "UTC"} == engineer.get("/factories/2").json()
    assert [a_record(1)] == engineer.get("/production/1").json()


@pytest.mark.parametrize("member", ["name", "time_zone"])
def test_a_replacement_lacks_no_member(engineer: Client, member: str) -> None:
    """PUT replaces whole: what leaves a member out is refused, the time zone too, and what was stored stays."""
    engineer.post("/factories", json=SHEFFIELD)
    answer = engineer.put("/factories/1", json={name: value for name, value in OSAKA.items() if name != member})

    assert (422, [f"/{member}"]) == (answer.status_code, pointers(answer.json()))
    assert {"id": 1} | SHEFFIELD == engineer.get("/factories/1").json()


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_change_may_repeat_the_factorys_own_id(engineer: Client, method: str) -> None:
    """What was read can be sent back as it is."""
    stored = engineer.post("/factories", json=SHEFFIELD).json()
    answer = engineer.request(method, "/factories/1", json=stored)

    assert (200, stored) == (answer.status_code, answer.json())


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("other", [2, 0, -1, 2**63, "1", True, None])
def test_a_change_may_not_bring_another_id(engineer: Client, method: str, other: object) -> None:
    """The path says what is changed; a body that says otherwise is refused, and what was stored stays."""
    engineer.post("/factories", json=SHEFFIELD)
    answer = engineer.request(method, "/factories/1", json=OSAKA | {"id": other})

    assert (422, ["/id"]) == (answer.status_code, pointers(answer.json()))
    assert [{"id": 1} | SHEFFIELD] == engineer.get("/factories").json()


@pytest.mark.parametrize("headers", [JSON, MERGE_PATCH])
@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ('{"name": "Osaka"}', {"id": 1, "name": "Osaka", "time_zone": "Europe/London"}),
        ('{"time_zone": "Asia/Tokyo"}', {"id": 1, "name": "Sheffield", "time_zone": "Asia/Tokyo"}),
        ('{"name": "Osaka", "time_zone": "Asia/Tokyo"}', {"id": 1, "name": "Osaka", "time_zone": "Asia/Tokyo"}),
        ("{}", {"id": 1, "name": "Sheffield", "time_zone": "Europe/London"}),
    ],
)
def test_a_factory_is_changed_in_part(
    engineer: Client, viewer: Client, patch: str, expected: dict[str, object], headers: dict[str, str]
) -> None:
    """PATCH answers 200 with the whole factory: what was sent is new, what was left out stays."""
    engineer.post("/factories", json=SHEFFIELD)
    answer = engineer.patch("/factories/1", content=patch, headers=headers)

    assert (200, expected) == (answer.status_code, answer.json())
    assert expected == viewer.get("/factories/1").json()


@pytest.mark.parametrize("member", ["name", "time_zone"])
def test_a_patch_removes_no_member(engineer: Client, member: str) -> None:
    """In a merge patch null removes; what a factory cannot be without is not removed."""
    engineer.post("/factories", json=SHEFFIELD)
    answer = engineer.patch("/factories/1", json={member: None})

    assert (422, [f"/{member}"]) == (answer.status_code, pointers(answer.json()))
    assert {"id": 1} | SHEFFIELD == engineer.get("/factories/1").json()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(("body", "expected"), [("", 400), ("{", 400), ("name=Osaka", 400), ("[]", 422), ("null", 422)])
def test_a_body_that_is_no_object_is_refused(engineer: Client, method: str, body: str, expected: int) -> None:
    """What cannot be read is 400 and what is no object 422; what was stored stays."""
    engineer.post("/factories", json=SHEFFIELD)
    path = "/factories" if method == "POST" else "/factories/1"
    answer = engineer.request(method, path, content=body, headers=JSON)

    assert expected == answer.status_code
    assert [{"id": 1} | SHEFFIELD] == engineer.get("/factories").json()


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("POST", "/factories", "application/merge-patch+json"),
        ("POST", "/factories", "text/csv"),
        ("PUT", "/factories/1", "application/merge-patch+json"),
        ("PATCH", "/factories/1", "application/json-patch+json"),
        ("PATCH", "/factories/1", ""),
    ],
)
def test_a_body_of_another_kind_is_refused(engineer: Client, method: str, path: str, content_type: str) -> None:
    """Only PATCH reads merge patches, and nothing reads what is not declared to be JSON: 415, and nothing changes."""
    engineer.post("/factories", json=SHEFFIELD)
    body = '{"name": "Osaka", "time_zone": "UTC"}'
    answer = engineer.request(method, path, content=body, headers={"Content-Type": content_type})

    assert 415 == answer.status_code
    assert [{"id": 1} | SHEFFIELD] == engineer.get("/factories").json()


def test_a_removed_factory_is_gone(engineer: Client, viewer: Client) -> None:
    """DELETE answers 204 with nothing; from then on the factory is 404 and in no list, the others stay."""
    engineer.post("/factories", json=SHEFFIELD)
    engineer.post("/factories", json=OSAKA)
    answer = engineer.delete("/factories/1")

    assert (204, b"") == (answer.status_code, answer.content)
    assert [404, 404] == [viewer.get("/factories/1").status_code, engineer.delete("/factories/1").status_code]
    assert [{"id": 2} | OSAKA] == viewer.get("/factories").json()


def test_a_factory_with_production_is_not_removed(engineer: Client, viewer: Client) -> None:
    """DELETE is 409 and loses neither the factory nor a record; without its production the factory can go."""
    engineer.post("/factories", json=SHEFFIELD)
    engineer.post("/production", json=a_record(1))
    refused = engineer.delete("/factories/1")
    kept = [viewer.get("/factories").json(), viewer.get("/production").json()]
    engineer.delete(f"/production/1/{a_record(1)['time']}")
    removed = engineer.delete("/factories/1")

    assert (409, "/problems/conflict") == (refused.status_code, refused.json()["type"])
    assert [[{"id": 1} | SHEFFIELD], [a_record(1)]] == kept
    assert (204, []) == (removed.status_code, viewer.get("/factories").json())


def test_the_id_of_a_removed_factory_is_never_used_again(engineer: Client) -> None:
    """An id that somebody wrote down keeps its meaning for ever, also where the newest factory was removed."""
    removed = [engineer.post("/factories", json=factory).json()["id"] for factory in (SHEFFIELD, OSAKA)][-1]
    engineer.delete(f"/factories/{removed}")
    answer = engineer.post("/factories", json=OSAKA)

    assert answer.json()["id"] > removed
    assert 404 == engineer.get(f"/factories/{removed}").status_code


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/factories"), ("PATCH", "/factories"), ("DELETE", "/factories"), ("POST", "/factories/1")],
)
def test_a_wrong_method_is_refused_and_changes_nothing(engineer: Client, method: str, path: str) -> None:
    """A method that a path does not know is 405 and names those that it knows."""
    engineer.post("/factories", json=SHEFFIELD)
    answer = engineer.request(method, path, json=OSAKA)

    assert 405 == answer.status_code
    assert "GET" in answer.headers["Allow"]
    assert [{"id": 1} | SHEFFIELD] == engineer.get("/factories").json()

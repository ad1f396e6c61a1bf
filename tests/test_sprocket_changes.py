"""The catalogue: changing a part of a sprocket, removing one, and the version that each has."""

import json
import re

import pytest

from harness import Client, a_sprocket, pointers

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


@pytest.mark.parametrize(("member", "value"), [("teeth", 99), ("pitch_diameter", 1.5), ("pitch", 1e6)])
def test_a_change_touches_only_the_members_that_it_names(
    engineer: Client, viewer: Client, member: str, value: float
) -> None:
    """PATCH answers 200 with what is stored from now on; what the body leaves out stays as it was."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.patch("/sprockets/1", json={member: value})

    assert (200, {"id": 1} | a_sprocket(**{member: value})) == (answer.status_code, answer.json())
    assert answer.json() == viewer.get("/sprockets/1").json()


def test_a_change_may_name_every_member(engineer: Client, viewer: Client) -> None:
    """A patch that names all there is replaces it whole."""
    new = {"teeth": 11, "pitch_diameter": 1.5, "outside_diameter": 2.5, "pitch": 3.5}
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.patch("/sprockets/1", json=new)

    assert (200, {"id": 1} | new) == (answer.status_code, answer.json())
    assert {"id": 1} | new == viewer.get("/sprockets/1").json()


def test_a_change_changes_no_other_sprocket(engineer: Client, viewer: Client) -> None:
    """PATCH writes what its path names and nothing else."""
    engineer.post("/sprockets", json=a_sprocket())
    engineer.post("/sprockets", json=a_sprocket())
    engineer.patch("/sprockets/1", json={"teeth": 99})

    assert {"id": 2} | a_sprocket() == viewer.get("/sprockets/2").json()


def test_an_empty_change_changes_nothing(engineer: Client, viewer: Client) -> None:
    """A merge patch without members is one that is done already: 200, and what is stored stays."""
    stored = engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.patch("/sprockets/1", json={})

    assert (200, stored.json()) == (answer.status_code, answer.json())
    assert stored.json() == viewer.get("/sprockets/1").json()


@pytest.mark.parametrize("content_type", ["application/merge-patch+json", "application/json"])
def test_a_change_is_a_merge_patch_or_json(engineer: Client, content_type: str) -> None:
    """RFC 7396 has a media type of its own; plain JSON means the same here."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.patch("/sprockets/1", content=b'{"teeth": 99}', headers={"Content-Type": content_type})

    assert (200, 99) == (answer.status_code, answer.json()["teeth"])


@pytest.mark.parametrize("content_type", ["application/json-patch+json", "text/plain", ""])
def test_a_change_of_another_content_type_is_refused(engineer: Client, content_type: str) -> None:
    """Another kind of patch means something else: 415, and what was stored stays."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.patch("/sprockets/1", content=b'{"teeth": 99}', headers={"Content-Type": content_type})

    assert 415 == answer.status_code
    assert {"id": 1} | a_sprocket() == engineer.get("/sprockets/1").json()


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_only_a_change_is_sent_as_a_merge_patch(engineer: Client, method: str) -> None:
    """A whole sprocket is plain JSON; declared as a patch it is 415, and nothing is stored."""
    engineer.post("/sprockets", json=a_sprocket())
    path = {"POST": "/sprockets", "PUT": "/sprockets/1"}[method]
    answer = engineer.request(method, path, json=a_sprocket(teeth=99), headers=MERGE_PATCH)

    assert 415 == answer.status_code
    assert [{"id": 1} | a_sprocket()] == engineer.get("/sprockets").json()


@pytest.mark.parametrize("member", ["teeth", "pitch_diameter", "outside_diameter", "pitch"])
def test_a_change_takes_no_member_away(engineer: Client, member: str) -> None:
    """In a merge patch null means without; a sprocket has all of its members, so it is refused where it stands."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.patch("/sprockets/1", json={member: None}, headers=MERGE_PATCH)

    assert 422 == answer.status_code
    assert [f"/{member}"] == pointers(answer.json())
    assert {"id": 1} | a_sprocket() == engineer.get("/sprockets/1").json()


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"teeth": 2}, {"/teeth"}),
        ({"teeth": 20.5, "pitch": 3}, {"/teeth"}),
        ({"pitch": 0, "outside_diameter": 1_000_001}, {"/pitch", "/outside_diameter"}),
        ({"width": 1, "teeth": 99}, {"/width"}),
        ({"width": None}, {"/width"}),
    ],
)
def test_a_change_that_breaks_a_rule_is_refused_whole(
    engineer: Client, changes: dict[str, object], wrong: set[str]
) -> None:
    """Every wrong or unknown member is named, and not even the right ones are stored."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.patch("/sprockets/1", json=changes)

    assert 422 == answer.status_code
    assert wrong == set(pointers(answer.json()))
    assert {"id": 1} | a_sprocket() == engineer.get("/sprockets/1").json()


@pytest.mark.parametrize("body", [[], [{"teeth": 99}], "teeth", 99, None])
def test_a_change_that_is_no_object_is_refused(engineer: Client, body: object) -> None:
    """RFC 7396 would put it in place of the whole; a sprocket is an object, so it is 422."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.patch("/sprockets/1", content=json.dumps(body), headers=MERGE_PATCH)

    assert 422 == answer.status_code
    assert [{"id": 1} | a_sprocket()] == engineer.get("/sprockets").json()


def test_a_change_that_is_no_json_is_refused(engineer: Client) -> None:
    """What cannot be read is 400, and what was stored stays."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.patch("/sprockets/1", content=b"{", headers=MERGE_PATCH)

    assert 400 == answer.status_code
    assert {"id": 1} | a_sprocket() == engineer.get("/sprockets/1").json()


def test_a_change_may_repeat_its_own_id(engineer: Client) -> None:
    """What was read can be sent back with one member different."""
    stored = engineer.post("/sprockets", json=a_sprocket()).json()
    answer = engineer.patch("/sprockets/1", json=stored | {"teeth": 99})

    assert (200, stored | {"teeth": 99}) == (answer.status_code, answer.json())


@pytest.mark.parametrize("other", [2, 0, 1.0, "1", True, None])
def test_a_change_may_not_bring_another_id(engineer: Client, other: object) -> None:
    """The path says what is changed; a body that says otherwise is refused, and what was stored stays."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.patch("/sprockets/1", json={"teeth": 99, "id": other})

    assert 422 == answer.status_code
    assert ["/id"] == pointers(answer.json())
    assert [{"id": 1} | a_sprocket()] == engineer.get("/sprockets").json()


@pytest.mark.parametrize("sprocket_id", ["1", "9223372036854775807", "seven"])
def test_an_unknown_sprocket_is_not_changed(engineer: Client, sprocket_id: str) -> None:
    """PATCH of an id that nothing has, or that is none, is 404 and creates nothing."""
    answer = engineer.patch(f"/sprockets/{sprocket_id}", json=a_sprocket())

    assert 404 == answer.status_code
    assert [] == engineer.get("/sprockets").json()


def test_a_removed_sprocket_is_gone(engineer: Client, viewer: Client) -> None:
    """DELETE answers 204 without a body; from then on the sprocket is neither found nor listed, and others are."""
    for teeth in (10, 20, 30):
        engineer.post("/sprockets", json=a_sprocket(teeth=teeth))
    answer = engineer.delete("/sprockets/2")

    assert (204, b"") == (answer.status_code, answer.content)
    assert 404 == viewer.get("/sprockets/2").status_code
    assert [1, 3] == [sprocket["id"] for sprocket in viewer.get("/sprockets").json()]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_nothing_works_on_a_removed_sprocket(engineer: Client, method: str) -> None:
    """It is 404 as if it had never been, and nothing brings it back."""
    engineer.post("/sprockets", json=a_sprocket())
    engineer.delete("/sprockets/1")
    answer = engineer.request(method, "/sprockets/1", json=a_sprocket())

    assert 404 == answer.status_code
    assert [] == engineer.get("/sprockets").json()


@pytest.mark.parametrize("sprocket_id", ["2", "9223372036854775807", "seven", "0", "01"])
def test_an_unknown_sprocket_is_not_removed(engineer: Client, sprocket_id: str) -> None:
    """DELETE of an id that nothing has, or that is none, is 404 and removes nothing."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.delete(f"/sprockets/{sprocket_id}")

    assert 404 == answer.status_code
    assert [{"id": 1} | a_sprocket()] == engineer.get("/sprockets").json()


@pytest.mark.parametrize("left", [0, 1, 2])
def test_the_id_of_a_removed_sprocket_is_never_used_again(engineer: Client, left: int) -> None:
    """An id that somebody wrote down keeps its meaning for ever, even where the newest or all were removed."""
    ids = [engineer.post("/sprockets", json=a_sprocket()).json()["id"] for _ in range(3)]
    for sprocket_id in ids[left:]:
        engineer.delete(f"/sprockets/{sprocket_id}")
    answer = engineer.post("/sprockets", json=a_sprocket())

    assert answer.json()["id"] > max(ids)
    assert [404] * (3 - left) == [engineer.get(f"/sprockets/{gone}").status_code for gone in ids[left:]]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/sprockets", a_sprocket()),
        ("PUT", "/sprockets/1", a_sprocket(teeth=30)),
        ("PATCH", "/sprockets/1", {"teeth": 40}),
        ("PATCH", "/sprockets/1", {}),
    ],
)
def test_every_answer_with_a_sprocket_has_its_etag(
    engineer: Client, viewer: Client, method: str, path: str, body: object
) -> None:
    """Whoever wrote a sprocket knows its version without reading it again: it is the one that GET says."""
    engineer.post("/sprockets", json=a_sprocket())
    written = engineer.request(method, path, json=body)
    read = viewer.get(f"/sprockets/{written.json()['id']}")

    assert read.headers["ETag"] == written.headers["ETag"]


def test_an_etag_is_strong_and_quoted(engineer: Client) -> None:
    """It can be sent back in If-Match as it came."""
    etag = engineer.post("/sprockets", json=a_sprocket()).headers["ETag"]

    assert re.fullmatch(r'"[\x21\x23-\x7e]+"', etag)


def test_an_etag_changes_with_the_sprocket_and_with_nothing_else(engineer: Client, viewer: Client) -> None:
    """Reading, changing nothing, and changing another one leave it as it is; changing back brings it back."""
    first = engineer.post("/sprockets", json=a_sprocket()).headers["ETag"]
    engineer.post("/sprockets", json=a_sprocket())
    engineer.patch("/sprockets/2", json={"teeth": 99})
    engineer.put("/sprockets/1", json=a_sprocket())
    unchanged = viewer.get("/sprockets/1").headers["ETag"]
    changed = engineer.patch("/sprockets/1", json={"teeth": 99}).headers["ETag"]
    changed_back = engineer.patch("/sprockets/1", json={"teeth": 20}).headers["ETag"]

    assert [first, first] == [unchanged, changed_back]
    assert first != changed


def test_equal_sprockets_have_etags_of_their_own(engineer: Client) -> None:
    """A version belongs to one sprocket: that of another fits nowhere else."""
    etags = {engineer.post("/sprockets", json=a_sprocket()).headers["ETag"] for _ in range(2)}

    assert 2 == len(etags)

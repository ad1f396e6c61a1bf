"""Production, record by record: what one factory made at one moment, and what it set out to make."""

import random
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness import BASE_PATH, Client, Service, forget_everything
from sprocket_factory.database import Transaction
from sprocket_factory.entities.factory import NewFactory, add_factory
from sprocket_factory.entities.instant import DAY, MINUTE, SECOND, now, to_text

MEMBERS = ["sprocket_production_actual", "sprocket_production_goal", "time", "factory_id"]

JSON = {"Content-Type": "application/json"}
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}

TIME = "2021-01-21T02:06:58Z"
SECONDS = 1_611_194_818
HERE = f"/production/1/{TIME}"

SAME_TIME = [
    "2021-01-21T02:06:58Z",
    "2021-01-21t02:06:58.000z",
    "2021-01-21T02:06:58-00:00",
    "2021-01-21T07:51:58+05:45",
    "2021-01-20T23:06:58-03:00",
    "1611194818",
    "1611194818.000000",
]
"""One moment in many forms, as a path names it."""

SAME_TIME_IN_A_BODY = [*SAME_TIME, "2021-01-21 02:06:58Z", 1_611_194_818, 1_611_194_818.0]

NO_TIMES = [
    "now",
    "2021-01-21",
    "2021-01-21T02:06:58",
    "2021-01-21T02:06:60Z",
    "2021-02-29T02:06:58Z",
    "2021-01-21T02:06:58.0000001Z",
    "2021-01-21T02:06:58+25:00",
    "1979-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00",
    "-1",
    "1e9",
    "1611194818000",
    "1" + 30 * "0",
]
"""What names no moment, or none that a record may ever have."""

METHODS = ["POST", "PUT", "PATCH", "DELETE"]

Stored = dict[str, object] | None

NO_COUNTS = [-1, 2**31, 2**63, 1.5, True, "12", None, [1]]


@pytest.fixture
def service(running: Service) -> Service:
    """Return the service with two factories, 1 and 2, that made nothing so far."""
    running.run(running.database.write, begin_with_two_factories, by="test")
    return running


async def begin_with_two_factories(tx: Transaction) -> None:
    """Remove every row, and that ids were ever given, then add the factories."""
    await forget_everything(tx)
    for name in ("Sheffield", "Osaka"):
        await add_factory(tx, NewFactory(name=name))


def counts(actual: object = 29, goal: object = 32) -> dict[str, object]:
    """Return what a record says of its factory and time."""
    return {"sprocket_production_actual": actual, "sprocket_production_goal": goal}


def a_record(**members: object) -> dict[str, object]:
    """Return a record as one posts it and reads it, with these members instead of the usual ones."""
    return counts() | {"time": TIME, "factory_id": 1} | members


def pointers(problem: dict[str, list[dict[str, str]]]) -> list[str]:
    """Return where a problem says that something is wrong."""
    return [error["pointer"] for error in problem["errors"]]


def a_day_and_a_bit_ahead() -> str:
    """Return a time that no record may have yet."""
    return to_text(now() + DAY + 10 * MINUTE)


def right_answer(method: str, stored: Stored, sent: dict[str, object]) -> tuple[int, Stored]:
    """Return the status that a write deserves, and what is stored after it."""
    match method:
        case "POST":
            return (201, sent) if stored is None else (200 if stored == sent else 409, stored)
        case "PUT":
            return 201 if stored is None else 200, sent
        case "PATCH":
            return (404, None) if stored is None else (200, sent)
    return 404 if stored is None else 204, None


def write(client: Client, method: str, factory_id: int, second: int, sent: dict[str, object]) -> httpx.Response:
    """Write to the record of a factory so many seconds after the usual time."""
    time = SECONDS + second
    path = "/production" if method == "POST" else f"/production/{factory_id}/{time}"
    body = None if method == "DELETE" else sent | {"factory_id": factory_id, "time": time}
    return client.request(method, path, json=body)


def test_a_new_record_can_be_read_at_its_location(engineer: Client, viewer: Client) -> None:
    """POST of one answers 201 with the stored record, where it is and which version it is."""
    answer = engineer.post("/production", json=a_record())
    read = viewer.get(viewer.address + answer.headers["Location"])

    assert (201, a_record()) == (answer.status_code, answer.json())
    assert f"{BASE_PATH}/production/1/{TIME}" == answer.headers["Location"]
    assert (answer.json(), answer.headers["ETag"]) == (read.json(), read.headers["ETag"])


def test_the_members_of_a_record_come_in_their_promised_order(engineer: Client) -> None:
    """The order is that of the contract in every answer, whatever order they were sent in."""
    posted = engineer.post("/production", json=dict(reversed(a_record().items()))).json()
    replaced = engineer.put(HERE, json=dict(reversed(a_record().items()))).json()
    changed = engineer.patch(HERE, json=dict(reversed(counts().items()))).json()
    read = engineer.get(HERE).json()

    assert [MEMBERS] * 4 == [list(posted), list(replaced), list(changed), list(read)]


@pytest.mark.parametrize("time", SAME_TIME_IN_A_BODY, ids=repr)
def test_a_posted_record_goes_out_in_utc_in_whatever_form_its_time_came(engineer: Client, time: str | float) -> None:
    """The answer and its Location say the time in one form."""
    answer = engineer.post("/production", json=a_record(time=time))

    assert (201, a_record()) == (answer.status_code, answer.json())
    assert f"{BASE_PATH}/production/1/{TIME}" == answer.headers["Location"]


@pytest.mark.parametrize("time", SAME_TIME_IN_A_BODY, ids=repr)
def test_fault_07_the_same_record_again_is_no_second_one(engineer: Client, time: str | float) -> None:
    """Equal values for the same factory and moment, in any form of it, are 200 with what is stored: one record."""
    first = engineer.post("/production", json=a_record())
    again = engineer.post("/production", json=a_record(time=time))

    assert (200, first.json()) == (again.status_code, again.json())
    assert first.headers["ETag"] == again.headers["ETag"]
    assert [a_record()] == engineer.get("/production").json()


def test_fault_07_the_same_record_from_many_at_once_is_one(engineer: Client) -> None:
    """One caller is told that it was created, all the others that it is there."""
    with ThreadPoolExecutor(8) as callers:
        statuses = list(callers.map(lambda _: engineer.post("/production", json=a_record()).status_code, range(24)))

    assert [200] * 23 + [201] == sorted(statuses)
    assert [a_record()] == engineer.get("/production").json()


@pytest.mark.parametrize("other", [counts(actual=30), counts(goal=31), counts(actual=0, goal=0)])
def test_fault_08_other_values_are_refused_with_those_that_are_stored(
    engineer: Client, other: dict[str, object]
) -> None:
    """The same factory and moment with other values is 409, which says what is stored; that stays."""
    engineer.post("/production", json=a_record())
    answer = engineer.post("/production", json=a_record(time=SECONDS, **other))

    assert (409, "/problems/conflict") == (answer.status_code, answer.json()["type"])
    assert f"Factory 1 at {TIME} stands at actual 29, goal 32." in answer.json()["detail"]
    assert [a_record()] == engineer.get("/production").json()


def test_fault_08_of_many_who_differ_at_once_one_is_right(engineer: Client) -> None:
    """One caller's values are stored, and all the others are told that they are not theirs."""

    def post(actual: int) -> tuple[int, int]:
        return engineer.post("/production", json=a_record(sprocket_production_actual=actual)).status_code, actual

    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(post, range(24)))
    winners = [actual for status, actual in answers if status == 201]

    assert [201] + [409] * 23 == sorted(status for status, _ in answers)
    assert winners == [record["sprocket_production_actual"] for record in engineer.get("/production").json()]


def test_records_of_other_factories_and_other_microseconds_are_other_records(engineer: Client) -> None:
    """A record is known by its factory and its moment, to the microsecond."""
    later = "2021-01-21T02:06:58.000001Z"
    posted = [a_record(), a_record(time=later), a_record(factory_id=2), a_record(factory_id=2, time=later)]
    statuses = [engineer.post("/production", json=record).status_code for record in posted]

    assert [201] * 4 == statuses
    assert posted == engineer.get("/production").json()


def test_a_record_of_an_unknown_factory_is_not_found(engineer: Client) -> None:
    """POST of one record for a factory that does not exist is 404, and nothing is stored."""
    answer = engineer.post("/production", json=a_record(factory_id=3))

    assert (404, "/problems/not-found") == (answer.status_code, answer.json()["type"])
    assert [] == engineer.get("/production").json()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(("factory_id", value) for value in (0, -1, 2**63, 1.5, True, "1", None)),
        *(("time", value) for value in (*NO_TIMES, "", 0, -1, 1e300, SECONDS * 1000, True, None, [TIME])),
        *(("sprocket_production_actual", value) for value in NO_COUNTS),
        *(("sprocket_production_goal", value) for value in NO_COUNTS),
    ],
    ids=repr,
)
def test_a_record_outside_the_rules_is_refused(engineer: Client, member: str, value: object) -> None:
    """The refusal points at the member, and nothing is stored."""
    answer = engineer.post("/production", json=a_record(**{member: value}))

    assert (422, [f"/{member}"]) == (answer.status_code, pointers(answer.json()))
    assert [] == engineer.get("/production").json()


@pytest.mark.parametrize("value", [SECONDS * 1000, str(SECONDS * 1000)], ids=repr)
def test_milliseconds_are_recognised(engineer: Client, value: object) -> None:
    """Whoever sends milliseconds is told so, in a body and in a path; nothing is stored."""
    posted = engineer.post("/production", json=a_record(time=value))
    put = engineer.put(f"/production/1/{value}", json=counts())

    assert [True, True] == ["milliseconds" in answer.json()["detail"] for answer in (posted, put)]
    assert [] == engineer.get("/production").json()


@pytest.mark.parametrize("member", MEMBERS)
def test_a_record_lacks_no_member(engineer: Client, member: str) -> None:
    """Every member is required; the refusal points at the missing one, and nothing is stored."""
    answer = engineer.post("/production", json={name: value for name, value in a_record().items() if name != member})

    assert (422, [f"/{member}"]) == (answer.status_code, pointers(answer.json()))
    assert [] == engineer.get("/production").json()


@pytest.mark.parametrize("parameter", ["dry_run=true", "on_conflict=replace", "on_conflict=skip"])
def test_what_is_for_many_records_is_refused_for_one(engineer: Client, parameter: str) -> None:
    """A parameter that would not be heeded is refused by name, so that a dry run never stores anything."""
    answer = engineer.post(f"/production?{parameter}", json=a_record())

    assert (422, [parameter.split("=", maxsplit=1)[0]]) == (answer.status_code, pointers(answer.json()))
    assert [] == engineer.get("/production").json()


@pytest.mark.parametrize("form", SAME_TIME)
def test_put_creates_a_record_where_there_is_none(engineer: Client, viewer: Client, form: str) -> None:
    """PUT answers 201 with the record and its Location, in whatever form the path says its time."""
    answer = engineer.put(f"/production/1/{form}", json=counts())
    read = viewer.get(viewer.address + answer.headers["Location"])

    assert (201, a_record()) == (answer.status_code, answer.json())
    assert f"{BASE_PATH}/production/1/{TIME}" == answer.headers["Location"]
    assert (answer.json(), answer.headers["ETag"]) == (read.json(), read.headers["ETag"])


@pytest.mark.parametrize("form", SAME_TIME)
def test_any_form_of_its_time_names_a_record(engineer: Client, form: str) -> None:
    """GET, PUT, PATCH and DELETE find the same record by every form of its moment."""
    engineer.put(HERE, json=counts())
    path = f"/production/1/{form}"
    answers = [engineer.get(path), engineer.put(path, json=counts(1, 2)), engineer.patch(path, json=counts(3, 4))]
    stored = engineer.get("/production").json()
    removed = engineer.delete(path)

    assert [a_record(), a_record(**counts(1, 2)), a_record(**counts(3, 4))] == [answer.json() for answer in answers]
    assert [a_record(**counts(3, 4))] == stored
    assert (204, []) == (removed.status_code, engineer.get("/production").json())


def test_put_replaces_a_record_whole(engineer: Client, viewer: Client) -> None:
    """PUT of a record that is there answers 200 with what is stored from now on."""
    engineer.put(HERE, json=counts())
    answer = engineer.put(HERE, json=counts(0, 2_147_483_647))

    assert (200, a_record(**counts(0, 2_147_483_647))) == (answer.status_code, answer.json())
    assert [answer.json()] == viewer.get("/production").json()


def test_a_machine_may_repeat_its_put_for_ever(engineer: Client) -> None:
    """PUT of the same values again is 200 with the same record in the same version, and there is one."""
    first = engineer.put(HERE, json=counts())
    repeated = [engineer.put(HERE, json=counts()) for _ in range(5)]

    assert [(200, first.json(), first.headers["ETag"])] * 5 == [
        (answer.status_code, answer.json(), answer.headers["ETag"]) for answer in repeated
    ]
    assert [a_record()] == engineer.get("/production").json()


def test_a_put_from_many_at_once_creates_one_record(engineer: Client) -> None:
    """One caller created it, the others replaced it, and what is stored is what one of them sent."""

    def put(actual: int) -> int:
        return engineer.put(HERE, json=counts(actual, actual)).status_code

    with ThreadPoolExecutor(8) as callers:
        statuses = list(callers.map(put, range(24)))

    assert [200] * 23 + [201] == sorted(statuses)
    assert engineer.get("/production").json() in [[a_record(**counts(actual, actual))] for actual in range(24)]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("time", SAME_TIME_IN_A_BODY, ids=repr)
def test_a_body_may_repeat_what_the_path_says(engineer: Client, method: str, time: str | float) -> None:
    """Factory and time may stand in the body as well, the time in any form: what was read can be sent back."""
    engineer.put(HERE, json=counts())
    answer = engineer.request(method, HERE, json=a_record(time=time, **counts(1, 2)))

    assert (200, a_record(**counts(1, 2))) == (answer.status_code, answer.json())


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(("factory_id", value) for value in (2, 0, "1", True, 1.5, None)),
        *(("time", value) for value in ("2021-01-21T02:06:59Z", "2021-01-21T02:06:58.000001Z", SECONDS + 1)),
        *(("time", value) for value in ("2021-01-21T02:06:58", "2021-01-21T02:06:58+01:00", SECONDS * 1000, "x")),
        *(("time", value) for value in (True, None, [TIME])),
    ],
    ids=repr,
)
def test_a_body_may_not_say_otherwise_than_the_path(engineer: Client, method: str, member: str, value: object) -> None:
    """The path says which record is written; a body that says otherwise is refused, and what was stored stays."""
    engineer.put(HERE, json=counts())
    answer = engineer.request(method, HERE, json=counts(1, 2) | {member: value})

    assert (422, [f"/{member}"]) == (answer.status_code, pointers(answer.json()))
    assert [a_record()] == engineer.get("/production").json()


@pytest.mark.parametrize("member", ["sprocket_production_actual", "sprocket_production_goal"])
def test_a_put_lacks_no_count(engineer: Client, member: str) -> None:
    """PUT replaces whole: what leaves a count out is refused, and what was stored stays."""
    engineer.put(HERE, json=counts())
    answer = engineer.put(HERE, json={name: 1 for name in counts() if name != member})

    assert (422, [f"/{member}"]) == (answer.status_code, pointers(answer.json()))
    assert [a_record()] == engineer.get("/production").json()


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("value", NO_COUNTS, ids=repr)
@pytest.mark.parametrize("member", ["sprocket_production_actual", "sprocket_production_goal"])
def test_a_count_outside_the_rules_is_refused(engineer: Client, method: str, member: str, value: object) -> None:
    """The refusal points at the member, and what was stored stays."""
    engineer.put(HERE, json=counts())
    answer = engineer.request(method, HERE, json=counts(1, 2) | {member: value})

    assert (422, [f"/{member}"]) == (answer.status_code, pointers(answer.json()))
    assert [a_record()] == engineer.get("/production").json()


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_unknown_member_of_a_record_is_refused_with_the_nearest(engineer: Client, method: str) -> None:
    """A member that nobody heeds is named, with the known one that was probably meant; what was stored stays."""
    engineer.put(HERE, json=counts())
    answer = engineer.request(method, HERE, json=counts(1, 2) | {"sprocket_production_gaol": 3})

    assert (422, ["/sprocket_production_gaol"]) == (answer.status_code, pointers(answer.json()))
    assert "sprocket_production_goal?" in answer.json()["errors"][0]["detail"]
    assert [a_record()] == engineer.get("/production").json()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("time", NO_TIMES)
def test_a_malformed_time_in_a_path_is_not_found(engineer: Client, method: str, time: str) -> None:
    """Nothing can be where no moment is; nothing is created or removed."""
    engineer.put(HERE, json=counts())
    answer = engineer.request(method, f"/production/1/{time}", json=counts() if method in {"PUT", "PATCH"} else None)

    assert 404 == answer.status_code
    assert [a_record()] == engineer.get("/production").json()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("factory_id", ["3", "9223372036854775807", "9223372036854775808", "0", "-1", "1.0", "osaka"])
def test_a_record_of_an_unknown_factory_is_not_found_by_its_path(
    engineer: Client, method: str, factory_id: str
) -> None:
    """An id that no factory has, or that is none, is 404 for every method; nothing is created or removed."""
    engineer.put(HERE, json=counts())
    body = counts() if method in {"PUT", "PATCH"} else None
    answer = engineer.request(method, f"/production/{factory_id}/{TIME}", json=body)

    assert (404, "/problems/not-found") == (answer.status_code, answer.json()["type"])
    assert [a_record()] == engineer.get("/production").json()


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_moment_without_a_record_is_not_found(engineer: Client, method: str) -> None:
    """A factory's neighbouring moments, and the same moment of another factory, have no record for that."""
    engineer.put(HERE, json=counts())
    body = counts() if method == "PATCH" else None
    others = ["/production/1/2021-01-21T02:06:57.999999Z", f"/production/1/{SECONDS}.000001", f"/production/2/{TIME}"]
    statuses = [engineer.request(method, path, json=body).status_code for path in others]

    assert [404] * 3 == statuses
    assert [a_record()] == engineer.get("/production").json()


def test_a_record_too_far_ahead_is_refused(engineer: Client) -> None:
    """PUT and POST of what a clock a day ahead does not show yet are 422, and nothing is stored."""
    time = a_day_and_a_bit_ahead()
    answers = [
        engineer.put(f"/production/1/{time}", json=counts()),
        engineer.post("/production", json=a_record(time=time)),
    ]

    assert [422, 422] == [answer.status_code for answer in answers]
    assert [] == engineer.get("/production").json()


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_there_is_no_record_too_far_ahead(engineer: Client, method: str) -> None:
    """Where nothing may be written nothing is: 404."""
    body = counts() if method == "PATCH" else None
    answer = engineer.request(method, f"/production/1/{a_day_and_a_bit_ahead()}", json=body)

    assert 404 == answer.status_code


def test_a_record_may_lie_almost_a_day_ahead(engineer: Client) -> None:
    """A factory whose clock is fast, or whose zone was mistaken, may record all the same."""
    time = to_text(now() // SECOND * SECOND + DAY - 10 * MINUTE)
    answer = engineer.put(f"/production/1/{time}", json=counts())

    assert (201, a_record(time=time)) == (answer.status_code, answer.json())


@pytest.mark.parametrize("time", ["1980-01-01T00:00:00Z", "2021-01-21T02:06:58.000001Z", "2021-01-21T02:06:58.999999Z"])
def test_a_record_keeps_its_microseconds(engineer: Client, time: str) -> None:
    """A moment is exact to the microsecond, in Location, in the record and as a path."""
    created = engineer.put(f"/production/1/{time}", json=counts())

    assert f"{BASE_PATH}/production/1/{time}" == created.headers["Location"]
    assert a_record(time=time) == engineer.get(f"/production/1/{time}").json()


def test_head_of_a_record_answers_as_get_without_the_body(engineer: Client, viewer: Client) -> None:
    """Status, length and version of HEAD are those of GET."""
    engineer.put(HERE, json=counts())
    head, get = viewer.head(HERE), viewer.get(HERE)

    assert (200, b"") == (head.status_code, head.content)
    assert (get.headers["ETag"], get.headers["Content-Length"]) == (
        head.headers["ETag"],
        head.headers["Content-Length"],
    )


@pytest.mark.parametrize("headers", [JSON, MERGE_PATCH])
@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ('{"sprocket_production_actual": 0}', counts(actual=0)),
        ('{"sprocket_production_goal": 2147483647}', counts(goal=2_147_483_647)),
        ('{"sprocket_production_actual": 1, "sprocket_production_goal": 2}', counts(1, 2)),
        ("{}", counts()),
    ],
)
def test_a_record_is_changed_in_part(
    engineer: Client, viewer: Client, patch: str, expected: dict[str, object], headers: dict[str, str]
) -> None:
    """PATCH answers 200 with the whole record: what was sent is new, what was left out stays."""
    engineer.put(HERE, json=counts())
    answer = engineer.patch(HERE, content=patch, headers=headers)

    assert (200, a_record(**expected)) == (answer.status_code, answer.json())
    assert [answer.json()] == viewer.get("/production").json()


def test_a_removed_record_is_gone(engineer: Client, viewer: Client) -> None:
    """DELETE answers 204 with nothing; from then on the record is 404, and its neighbours stay."""
    for record in (a_record(), a_record(time="2021-01-21T02:07:58Z"), a_record(factory_id=2)):
        engineer.post("/production", json=record)
    answer = engineer.delete(HERE)

    assert (204, b"") == (answer.status_code, answer.content)
    assert [404, 404] == [viewer.get(HERE).status_code, engineer.delete(HERE).status_code]
    assert [a_record(time="2021-01-21T02:07:58Z"), a_record(factory_id=2)] == viewer.get("/production").json()


def test_a_post_to_a_record_is_refused(engineer: Client) -> None:
    """A record is written by PUT; POST is 405, names what works, and changes nothing."""
    engineer.put(HERE, json=counts())
    answer = engineer.post(HERE, json=counts(1, 2))

    assert 405 == answer.status_code
    assert {"GET", "HEAD", "PUT", "PATCH", "DELETE"} <= set(answer.headers["Allow"].split(", "))
    assert [a_record()] == engineer.get("/production").json()


def test_records_end_as_all_that_was_written_says(engineer: Client) -> None:
    """In a long row of writes of all kinds each answer is right, and in the end all that is right is stored."""
    dice = random.Random(7)  # noqa: S311 - not a secret
    model: dict[tuple[int, int], Stored] = {}
    expected, actual = [], []
    for _ in range(400):
        method, key, sent = dice.choice(METHODS), (dice.randint(1, 2), dice.randrange(3)), counts(dice.randrange(2))
        status, model[key] = right_answer(method, model.get(key), sent)
        expected.append((method, status))
        actual.append((method, write(engineer, method, *key, sent).status_code))

    assert expected == actual
    assert [
        values | {"time": to_text((SECONDS + second) * SECOND), "factory_id": factory_id}
        for (factory_id, second), values in sorted(model.items())
        if values is not None
    ] == engineer.get("/production").json()

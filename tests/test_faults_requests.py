"""Faults 22 to 25 and 27: requests that ask for what cannot be. None may give a 500."""

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from faults import (
    BODIES,
    JSON,
    LINES,
    LISTS,
    RECORD,
    SINGLE,
    SQL,
    TIME,
    WITHOUT_BODY,
    WRITES,
    everything,
    get,
    lines,
    one_of_each,
    patiently,
    percent_encoded,
    post,
    shortened,
    sprocket_with,
    status_of,
)
from harness import Client, NewDatabase, Service, a_sprocket, pointers


@pytest.fixture(scope="module")
def service(new_database: NewDatabase) -> Iterator[Service]:
    """Run one service for all these tests: what is refused leaves nothing, so none can disturb another."""
    with one_of_each(new_database()) as running:
        yield running


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b"Content-Type:"],
        [b"Content-Type: text/plain"],
        [b"Content-Type: application/jsonp"],
        [b"Content-Type: application/json, text/plain"],
        [b"Content-Type: application/json; charset=latin-1"],
        [b"Content-Type: application/json; charset=utf-16"],
        [b"Content-Type: application/x-www-form-urlencoded"],
        [b"Content-Type: multipart/form-data; boundary=x"],
        [b"Content-Type: ;;;"],
        [b"Content-Type: text/plain", b"Content-Type: application/json"],
        [b"Content-Type: application/json", b"Content-Type: text/plain"],
    ],
    ids=lambda headers: b" + ".join(headers).decode() or "none",
)
def test_fault_22_a_body_that_is_not_declared_to_be_json_is_refused(engineer: Client, headers: list[bytes]) -> None:
    """A wrong, a missing and an ambiguous Content-Type are 415, whatever the body holds, and nothing is stored."""
    before = everything(engineer)
    answer = engineer.speak(post(b"{}", *headers))

    assert 415 == status_of(answer)
    assert before == everything(engineer)


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/xml", "application/json, text/plain", "text/csv; charset=utf-16"]
)
@pytest.mark.parametrize(("method", "path"), WRITES)
def test_fault_22_every_write_wants_to_know_what_it_reads(
    engineer: Client, method: str, path: str, content_type: str | None
) -> None:
    """Whatever is written and wherever to, a wrong or missing Content-Type is 415, and nothing is stored."""
    before = everything(engineer)
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = engineer.request(method, path, content=json.dumps(BODIES[path]), headers=headers)

    assert (415, "/problems/unsupported-media-type") == (answer.status_code, answer.json()["type"])
    assert before == everything(engineer)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "application/json; charset=UTF-8",
        'application/json;charset="utf-8"',
        "Application/JSON",
        "application/json;",
    ],
)
def test_fault_22_json_may_be_declared_in_every_way_that_is_allowed(engineer: Client, content_type: str) -> None:
    """Names of media types know no case, and UTF-8 may be said."""
    answer = engineer.put("/sprockets/1", content=json.dumps(a_sprocket()), headers={"Content-Type": content_type})

    assert 200 == answer.status_code


@pytest.mark.parametrize(
    "accept",
    [
        "text/csv",
        "text/*",
        "application/xml, text/html;q=0.9",
        "application/jsonp",
        "nonsense",
        ";;;,,,",
        "application/json;q=0",
        "*/*;q=0",
        "text/csv, application/json;q=0.0, */*;q=0",
    ],
)
def test_fault_22_what_accepts_nothing_of_ours_is_refused(engineer: Client, accept: str) -> None:
    """An answer that its caller cannot read is 406, before anything is done."""
    before = everything(engineer)
    read = engineer.get("/sprockets/1", headers={"Accept": accept})
    written = engineer.post("/sprockets", json=a_sprocket(), headers={"Accept": accept})

    assert [406, 406] == [read.status_code, written.status_code]
    assert before == everything(engineer)


@pytest.mark.parametrize(("method", "path"), [*WRITES, *WITHOUT_BODY])
def test_fault_22_nothing_is_done_for_who_cannot_read_the_answer(engineer: Client, method: str, path: str) -> None:
    """Every operation looks at Accept first: 406, and nothing is read, stored or removed."""
    before = everything(engineer)
    content = json.dumps(BODIES[path]) if (method, path) in WRITES else None
    answer = engineer.request(method, path, content=content, headers={**JSON, "Accept": "text/html"})

    assert (406, "/problems/not-acceptable") == (answer.status_code, answer.json()["type"])
    assert before == everything(engineer)


@pytest.mark.parametrize(
    "accepts",
    [
        [],
        [b"*/*"],
        [b"application/*"],
        [b"application/json"],
        [b"application/json; charset=utf-8"],
        [b"text/html, application/json;q=0.1"],
        [b"text/html, */*;q=0.1"],
        [b"text/html", b"application/json"],
        [b"application/json", b"text/html"],
    ],
    ids=lambda accepts: b" + ".join(accepts).decode() or "none",
)
def test_fault_22_what_accepts_json_among_others_is_served(viewer: Client, accepts: list[bytes]) -> None:
    """One acceptable media type is enough, whichever line of the header names it."""
    answer = viewer.speak(get(b"/sprockets/1", *(b"Accept: " + accept for accept in accepts)))

    assert 200 == status_of(answer)


@patiently
@given(
    st.lists(
        st.sampled_from(
            ["*/*", "application/json", "text/html", ";", ",", "q=", "=", '"', "1e999", "nan", "-1", "0.5"]
        ),
        max_size=8,
    ).map("".join)
)
@example("application/json;q=1e999")
@example("text/html;q=inf")
@example("application/json;q=nan")
@example("application/json;q=-1")
@example("application/json;q=")
@example("application/json;q=" + "9" * 5000)
@example("text/html," * 2000 + "application/json")
def test_fault_22_no_accept_header_gives_a_500(viewer: Client, accept: str) -> None:
    """However a caller weighs what it accepts, it is served or told that nothing fits."""
    answer = viewer.get("/sprockets/1", headers={"Accept": accept})

    assert answer.status_code in {200, 406}


@pytest.mark.parametrize(
    ("member", "pointer"),
    [("other", "/other"), ("", "/"), ("a/b~c", "/a~1b~0c"), ("__class__", "/__class__"), ("teeth ", "/teeth ")],
)
@pytest.mark.parametrize("value", ["1", "1e999", "9" * 5000], ids=["1", "1e999", "5,000 digits"])
def test_fault_23_an_unknown_member_is_refused_by_name(engineer: Client, member: str, pointer: str, value: str) -> None:
    """A member that is not read is never dropped in silence, whatever its value; its pointer follows RFC 6901."""
    before = everything(engineer)
    answer = engineer.post("/sprockets", content=sprocket_with(member, value), headers=JSON)

    assert 422 == answer.status_code
    assert [pointer] == [error["pointer"] for error in answer.json()["errors"]]
    assert before == everything(engineer)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_fault_23_every_write_refuses_an_unknown_member(engineer: Client, method: str, path: str) -> None:
    """Whatever is written and wherever to, the refusal points at what is not read, and nothing is stored."""
    before = everything(engineer)
    answer = engineer.request(method, path, json=BODIES[path] | {"other": None})

    assert (422, ["/other"]) == (answer.status_code, pointers(answer.json()))
    assert before == everything(engineer)


@pytest.mark.parametrize("query", ["other=1", "other", "other=", "other=1&other=1", "other=1&other=2", "%6Fther=1"])
@pytest.mark.parametrize(("method", "path"), [*WRITES, *WITHOUT_BODY])
def test_fault_23_an_unknown_parameter_is_refused_by_name(engineer: Client, method: str, path: str, query: str) -> None:
    """A parameter that is not heeded is never dropped in silence, once or repeated, and nothing is done."""
    before = everything(engineer)
    content = json.dumps(BODIES[path]) if (method, path) in WRITES else None
    answer = engineer.request(method, f"{path}?{query}", content=content, headers=JSON)

    assert (422, ["other"]) == (answer.status_code, pointers(answer.json()))
    assert "'other'" in answer.json()["detail"]
    assert before == everything(engineer)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("PATCH", path) for path in LISTS),
        *(("PUT", path) for path in LISTS),
        *(("DELETE", path) for path in LISTS if path != "/production"),
        *(("POST", path) for path in [*SINGLE, "/production/1"]),
        *((method, path) for path in [*LISTS, *SINGLE] for method in ("TRACE", "PURGE", "PROPFIND")),
    ],
)
def test_fault_24_a_wrong_method_is_refused_with_what_is_allowed(engineer: Client, method: str, path: str) -> None:
    """405 says in Allow what works instead, and nothing is done."""
    before = everything(engineer)
    answer = engineer.request(method, path, headers=JSON)

    assert (405, "/problems/method-not-allowed") == (answer.status_code, answer.json()["type"])
    assert {"GET", "HEAD"} <= set(answer.headers["Allow"].split(", "))
    assert method not in answer.headers["Allow"].split(", ")
    assert before == everything(engineer)


@pytest.mark.parametrize(
    "path",
    [
        *LISTS,
        *SINGLE,
        "/sprockets?limit=1&count=true",
        "/production?format=csv",
        "/sprockets?other=1",
        "/sprockets/999",
        "/factories/999",
        "/production/999",
        "/production/1/2021-01-22T00:00:00Z",
    ],
)
def test_fault_24_head_is_as_get_without_the_body(viewer: Client, path: str) -> None:
    """The same status and the same headers, the length among them, and not a byte of it."""
    request_id = {"X-Request-ID": "same"}
    answer = viewer.get(path, headers=request_id)
    head = viewer.head(path, headers=request_id)

    assert b"" == head.content
    assert (answer.status_code, str(len(answer.content))) == (head.status_code, head.headers["Content-Length"])
    assert answer.headers.items() - head.headers.items() <= {("date", answer.headers["Date"])}


@pytest.mark.parametrize("path", [*LISTS, *SINGLE, "/sprockets/999", "/production/1/2021-01-22T00:00:00Z"])
def test_fault_24_options_is_answered(viewer: Client, path: str) -> None:
    """It says what is allowed and does nothing."""
    before = everything(viewer)
    answer = viewer.options(path)

    assert (204, b"") == (answer.status_code, answer.content)
    assert {"GET", "HEAD", "OPTIONS"} <= set(answer.headers["Allow"].split(", "))
    assert before == everything(viewer)


@pytest.mark.parametrize(
    "written",
    [
        "0",
        "-1",
        "+1",
        "01",
        "0001",
        "0_1",
        "1_000",
        "1.0",
        "1e0",
        "0x1",
        "1,",
        "%201",
        "1%20",
        "1%0A",
        "1%00",
        "%00",
        "%001",
        "%2E%2E",
        "%2E%2E%2F1",
        "..%2Fsprockets",
        "abc",
        "%D9%A1",
        "%EF%BC%91",
        "%E1%9F%A1",
        "%C2%B9",
        "%E2%85%A0",
        "1;1",
        "{sprocket_id}",
        "9223372036854775808",
        "18446744073709551617",
        "1" + "0" * 30,
        "1" * 5000,
        "null",
        "true",
    ],
    ids=shortened,
)
def test_fault_25_what_is_no_id_is_not_found(engineer: Client, written: str) -> None:
    """An id is written in one way; what nearly is one names nothing, though there is something with the id 1."""
    before = everything(engineer)
    answers = [
        engineer.request(method, path.format(written), content=content, headers=JSON)
        for method, content in (("GET", b""), ("PUT", b"{}"), ("PATCH", b"{}"), ("DELETE", b""))
        for path in ("/sprockets/{}", "/factories/{}", f"/production/{{}}/{TIME}")
    ]
    listed = engineer.get(f"/production/{written}")

    assert [404] * 13 == [answer.status_code for answer in [*answers, listed]]
    assert before == everything(engineer)


@pytest.mark.parametrize(
    "written",
    [
        "now",
        "1",
        "-1",
        "2021-01-21",
        "2021-01-21T02:06:58",
        "2016-12-31T23:59:60Z",
        "2021-02-29T00:00:00Z",
        "2021-01-21T02:06:58+25:00",
        "2021-01-21T02:06:58.0000001Z",
        "0001-01-01T00:00:00+14:00",
        "20210121T020658Z",
        f"{TIME}%00",
        f"{TIME}%0A",
        f"%20{TIME}",
        f"{TIME},{TIME}",
        "2021-01-21T02:06:58%E2%88%9201:00",
        "%D9%A2%D9%A0%D9%A2%D9%A1-01-21T02:06:58Z",
        "1611194818000",
        "1_611_194_818",
        "+1611194818",
        "01611194818",
        "1611194818.",
        "1611194818e0",
        "NaN",
        "1" + "0" * 30,
        "1" * 5000,
        "%00",
        "%2E%2E",
        "..%2F..%2Fsprockets",
        "{time}",
        "%FF",
    ],
    ids=shortened,
)
def test_fault_25_what_is_no_time_is_not_found(engineer: Client, written: str) -> None:
    """A malformed time in a path names nothing, for reading, writing and removing, though there is a record."""
    before = everything(engineer)
    answers = [
        engineer.request(method, f"/production/1/{written}", content=content, headers=JSON)
        for method, content in (("GET", b""), ("PUT", json.dumps(BODIES[RECORD])), ("PATCH", b"{}"), ("DELETE", b""))
    ]

    assert [404] * 4 == [answer.status_code for answer in answers]
    assert before == everything(engineer)


@patiently
@given(
    st.text(min_size=1, max_size=30)
    | st.integers().map(str)
    | st.tuples(st.text(max_size=2), st.just("1"), st.text(max_size=2)).map("".join)
)
def test_fault_25_no_text_but_an_id_finds_anything(viewer: Client, text: str) -> None:
    """Whatever is asked for by a text that is the id of nothing, nothing is found and nothing breaks."""
    assume("/" not in text and not re.fullmatch("[1-9][0-9]?", text, re.ASCII))
    paths = ["/sprockets/{}", "/factories/{}", "/production/{}", f"/production/{{}}/{TIME}", "/production/1/{}"]
    found = [viewer.get(path.format(percent_encoded(text))).status_code for path in paths]

    assert [404] * 5 == found


@pytest.mark.parametrize("sql", SQL)
@pytest.mark.parametrize(
    "path", ["/sprockets/{}", "/factories/{}", "/production/{}", f"/production/{{}}/{TIME}", "/production/1/{}"]
)
def test_fault_27_sql_in_a_path_finds_nothing(engineer: Client, path: str, sql: str) -> None:
    """It is an id or a time that nothing has, whatever is to be done there, and what is stored stays."""
    before = everything(engineer)
    target = path.format(quote(sql, safe=""))
    methods = ["GET"] if path == "/production/{}" else ["GET", "PUT", "PATCH", "DELETE"]
    answers = [engineer.request(method, target, content=b"{}", headers=JSON) for method in methods]

    assert {404} == {answer.status_code for answer in answers}
    assert before == everything(engineer)


@pytest.mark.parametrize("sql", SQL)
@pytest.mark.parametrize(("method", "path"), WRITES)
def test_fault_27_sql_in_a_body_is_refused(engineer: Client, method: str, path: str, sql: str) -> None:
    """It is no number, no time, no time zone and no member, and what is stored stays."""
    before = everything(engineer)
    values = [BODIES[path] | {member: sql} for member in BODIES[path] if member != "name"]
    answers = [engineer.request(method, path, json=body) for body in [*values, BODIES[path] | {sql: 1}]]

    assert {422} == {answer.status_code for answer in answers}
    assert before == everything(engineer)


@pytest.mark.parametrize("sql", SQL)
@pytest.mark.parametrize("media_type", LINES)
def test_fault_27_sql_in_a_row_is_refused(engineer: Client, media_type: str, sql: str) -> None:
    """It is no number and no time where it comes among many either, and the right row before it is not stored."""
    before = everything(engineer)
    row = f'"{sql.replace(chr(34), chr(34) * 2)}",1,1,1' if media_type == "text/csv" else json.dumps({"time": sql})
    content = (lines(media_type) + row + "\n").encode()
    answer = engineer.post("/production", content=content, headers={"Content-Type": media_type})

    assert 422 == answer.status_code
    assert before == everything(engineer)


@pytest.mark.parametrize("sql", SQL)
@pytest.mark.parametrize(
    "name",
    [
        "sort",
        "limit",
        "cursor",
        "count",
        "format",
        "factory_id",
        "factory_id__in",
        "time__gte",
        "time__in",
        "name__contains",
    ],
)
@pytest.mark.parametrize("path", ["/production", "/production/1"])
def test_fault_27_sql_in_a_parameter_is_refused(viewer: Client, path: str, name: str, sql: str) -> None:
    """What a list is sorted, filtered and cut up by comes from a fixed table, as name and as value."""
    before = everything(viewer)
    as_value = viewer.get(path, params={name: sql})
    as_name = viewer.get(path, params={sql: "1"})

    assert [422, 422] == [as_value.status_code, as_name.status_code]
    assert before == everything(viewer)


@pytest.mark.parametrize("sql", SQL)
def test_fault_27_sql_in_a_span_to_remove_is_refused(engineer: Client, sql: str) -> None:
    """Where the most could be lost it is no id and no time either, and what is stored stays."""
    before = everything(engineer)
    span = {
        "factory_id": "1",
        "time__gte": "1980-01-01T00:00:00Z",
        "time__lt": "2030-01-01T00:00:00Z",
        "dry_run": "false",
    }
    answers = [engineer.delete("/production", params=span | {name: sql}) for name in span]

    assert [422] * 4 == [answer.status_code for answer in answers]
    assert before == everything(engineer)


@pytest.mark.parametrize("sql", SQL)
def test_fault_27_sql_in_a_name_is_stored_as_it_is(engineer: Client, viewer: Client, sql: str) -> None:
    """A factory may be called so: its name is text like any other, found by it, and its production is listed."""
    made = engineer.post("/factories", json={"name": sql}).json()
    engineer.put(f"/production/{made['id']}/{TIME}", json=BODIES[RECORD])

    assert [{"id": made["id"], "name": sql, "time_zone": "UTC"}] == viewer.get(
        "/factories", params={"name": sql}
    ).json()
    assert [made["id"]] == [record["factory_id"] for record in viewer.get(f"/production/{made['id']}").json()]

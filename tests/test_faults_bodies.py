"""Faults 17 and 18: bytes that are no text, and bodies that are no JSON or bad JSON. None may give a 500."""

import json
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults import (
    BODIES,
    JSON,
    JSON_VALUES,
    LINES,
    LITTLE_CPU_SECONDS,
    WRITES,
    body_with,
    everything,
    get,
    lines,
    one_of_each,
    patiently,
    post,
    sprocket_with,
    status_of,
)
from harness import Client, NewDatabase, Service, a_sprocket, pointers

DEEP = {"array": "[" * 100_000 + "]" * 100_000, "object": '{"a":' * 100_000 + "1" + "}" * 100_000}

FIRST_MEMBERS = {path: next(iter(body)) for path, body in BODIES.items()}


@pytest.fixture(scope="module")
def service(new_database: NewDatabase) -> Iterator[Service]:
    """Run one service for all these tests: what is refused leaves nothing, so none can disturb another."""
    with one_of_each(new_database()) as running:
        yield running


@pytest.mark.parametrize(
    "body",
    [
        b'{"teeth": "\xff"}',
        b'{"\xff": 1}',
        b'{"teeth": "\xc0\xaf"}',
        b'{"teeth": "\xed\xa0\x80"}',
        b'{"teeth": "\xf5\x80\x80\x80"}',
        b'{"teeth": "\xe2\x82"}',
        b"\xff\xfe",
        json.dumps(a_sprocket()).encode() + b"\xff",
        json.dumps(a_sprocket()).encode("utf-16"),
        json.dumps(a_sprocket()).encode("utf-16-le"),
        json.dumps(a_sprocket()).encode("utf-16-be"),
        json.dumps(a_sprocket()).encode("utf-32"),
        json.dumps(a_sprocket()).encode("utf-7").replace(b'"', b"+ACI-"),
    ],
)
def test_fault_17_a_body_that_is_no_utf_8_cannot_be_read(engineer: Client, body: bytes) -> None:
    """JSON between machines is UTF-8; anything else is 400, and nothing is stored."""
    before = everything(engineer)
    answer = engineer.post("/sprockets", content=body, headers=JSON)

    assert (400, "/problems/unreadable") == (answer.status_code, answer.json()["type"])
    assert before == everything(engineer)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-32-be"])
@pytest.mark.parametrize(("method", "path"), WRITES)
def test_fault_17_nothing_is_written_in_another_encoding(
    engineer: Client, method: str, path: str, encoding: str
) -> None:
    """Whatever is written and wherever to, JSON is UTF-8: 400, and nothing is stored."""
    before = everything(engineer)
    content = body_with(path, FIRST_MEMBERS[path], '"Zürich"').decode().encode(encoding)
    answer = engineer.request(method, path, content=content, headers=JSON)

    assert (400, "/problems/unreadable") == (answer.status_code, answer.json()["type"])
    assert before == everything(engineer)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("media_type", LINES)
def test_fault_17_lines_in_another_encoding_are_refused(engineer: Client, media_type: str, encoding: str) -> None:
    """What a spreadsheet saves as Unicode text is not stored as something else, nor in part."""
    before = everything(engineer)
    content = lines(media_type).encode(encoding)
    answer = engineer.post("/production", content=content, headers={"Content-Type": media_type})

    assert answer.status_code in {400, 422}
    assert before == everything(engineer)


@pytest.mark.parametrize("garbage", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82"])
@pytest.mark.parametrize("media_type", LINES)
def test_fault_17_lines_with_bytes_that_are_no_text_are_refused(
    engineer: Client, media_type: str, garbage: bytes
) -> None:
    """One such row keeps the right one before it out."""
    before = everything(engineer)
    content = lines(media_type).encode() + garbage + b"\n"
    answer = engineer.post("/production", content=content, headers={"Content-Type": media_type})

    assert answer.status_code in {400, 422}
    assert before == everything(engineer)


def test_fault_17_a_byte_order_mark_is_refused_or_passed_over(engineer: Client) -> None:
    """RFC 8259 forbids sending one and allows ignoring it: the body is read right, or not at all."""
    body = json.dumps(a_sprocket()).encode("utf-8-sig")
    answer = engineer.put("/sprockets/1", content=body, headers=JSON)

    assert answer.status_code == 400 or {"id": 1} | a_sprocket() == answer.json()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Accept: \xff\xfe", 406),
        (b"Host: \xff", 400),
        (b"Cookie: \xff=\xff; \xff", 200),
        (b"User-Agent: \xff\xc0\xaf", 200),
        (b"Forwarded: for=\xff", 200),
        (b"Range: \xff", 200),
        (b"\xff: 1", 400),
        (b"X-Anything: \x00", 400),
    ],
)
def test_fault_17_bytes_that_are_no_text_in_a_header_do_no_harm(viewer: Client, header: bytes, expected: int) -> None:
    """A header that matters is refused, one that does not is passed over, and one that is no header is no HTTP."""
    answer = viewer.speak(get(b"/sprockets", header))

    assert expected == status_of(answer)


def test_fault_17_a_content_type_that_is_no_text_is_refused(engineer: Client) -> None:
    """It is not the one that is read here, whatever it is."""
    answer = engineer.speak(post(b"{}", b"Content-Type: application/json\xff"))

    assert 415 == status_of(answer)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/sprockets/%FF", 404),
        (b"/sprockets/%C0%B1", 404),
        (b"/sprockets/%ED%A0%80", 404),
        (b"/%FF", 404),
        (b"/sprockets?%FF=1", 422),
        (b"/sprockets?%ED%A0%80", 422),
        (b"/sprockets/\xff", 400),
        (b"/sprockets/\xd9\xa1", 400),
        (b"/sprockets?\xff", 400),
        (b"/sprockets/1\x00", 400),
        (b"/sprockets/1 2", 400),
    ],
)
def test_fault_17_bytes_that_are_no_text_in_a_path_do_no_harm(viewer: Client, target: bytes, expected: int) -> None:
    """Encoded they name nothing that is there; bare they are no HTTP."""
    answer = viewer.speak(get(target))

    assert expected == status_of(answer)


@patiently
@given(
    st.sampled_from([b"Accept", b"Accept-Encoding", b"Authorization", b"Cookie", b"Host", b"If-None-Match", b"Range"]),
    st.binary(max_size=60).filter(lambda value: not {*b"\r\n"} & {*value}),
)
def test_fault_17_no_bytes_in_a_header_give_a_500(viewer: Client, name: bytes, value: bytes) -> None:
    """Whatever stands in a header, the request is served or refused."""
    answer = viewer.speak(get(b"/sprockets/1", name + b": " + value))

    assert status_of(answer) in {200, 304, 400, 401, 406, 429}


@patiently
@given(st.binary(max_size=40).filter(lambda value: not {*b"\r\n "} & {*value}))
def test_fault_17_no_bytes_in_a_path_give_a_500(viewer: Client, value: bytes) -> None:
    """Whatever is asked for, it is found or refused."""
    answer = viewer.speak(get(b"/sprockets/" + value))

    assert status_of(answer) in {200, 400, 404, 422}


@pytest.mark.parametrize("depth", ["[" * 100_000, *DEEP.values()], ids=["open", *DEEP])
@pytest.mark.parametrize(("method", "path"), WRITES)
def test_fault_18_a_body_nested_too_deeply_is_refused_at_little_cost(
    engineer: Client, method: str, path: str, depth: str
) -> None:
    """As the whole, as a member and as a member that there is not: depth costs neither the stack nor the processor."""
    before = everything(engineer)
    contents = [depth.encode(), body_with(path, FIRST_MEMBERS[path], depth), body_with(path, "deep", depth)]
    start = time.process_time()
    answers = [engineer.request(method, path, content=content, headers=JSON) for content in contents]
    spent = time.process_time() - start

    assert {answer.status_code for answer in answers} <= {400, 422}
    assert spent < LITTLE_CPU_SECONDS
    assert before == everything(engineer)


@pytest.mark.parametrize("depth", DEEP.values(), ids=DEEP)
def test_fault_18_a_row_nested_too_deeply_is_refused_at_little_cost(engineer: Client, depth: str) -> None:
    """Among many, in an array or on a line, it is a wrong row, and the right one before it is not stored."""
    before = everything(engineer)
    rows = [json.dumps(BODIES["/production"]).encode(), body_with("/production", "time", depth)]
    start = time.process_time()
    answers = [
        engineer.post("/production", content=b"[" + b",".join(rows) + b"]", headers=JSON),
        engineer.post("/production", content=b"\n".join(rows), headers={"Content-Type": "application/x-ndjson"}),
    ]
    spent = time.process_time() - start

    assert {answer.status_code for answer in answers} <= {400, 422}
    assert spent < LITTLE_CPU_SECONDS
    assert before == everything(engineer)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (sprocket_with("pitch", '1, "pitch": 1'), "/pitch"),
        (sprocket_with("pitch", '1, "pitch": 2'), "/pitch"),
        (sprocket_with("pitch", '0, "pitch": 2'), "/pitch"),
        (sprocket_with("pitch", r'1, "\u0070itch": 1'), "/pitch"),
        (sprocket_with("other", '1, "other": 1'), "/other"),
        (sprocket_with("a/b~c", '1, "a/b~c": 1'), "/a~1b~0c"),
    ],
)
def test_fault_18_a_member_named_twice_is_refused(engineer: Client, body: bytes, pointer: str) -> None:
    """Which of the two was meant is anybody's guess, so neither is stored, equal or not."""
    before = everything(engineer)
    answer = engineer.post("/sprockets", content=body, headers=JSON)

    assert 422 == answer.status_code
    assert [pointer] == [error["pointer"] for error in answer.json()["errors"]]
    assert before == everything(engineer)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_fault_18_a_member_named_twice_is_refused_wherever_it_is_written(
    engineer: Client, method: str, path: str
) -> None:
    """Equal or not, and even where a member is only to be changed; the refusal points at it, and nothing is stored."""
    before = everything(engineer)
    member = FIRST_MEMBERS[path]
    value = json.dumps(BODIES[path][member])
    content = body_with(path, member, f'{value}, "{member}": {value}')
    answer = engineer.request(method, path, content=content, headers=JSON)

    assert (422, [f"/{member}"]) == (answer.status_code, pointers(answer.json()))
    assert before == everything(engineer)


def test_fault_18_a_member_named_twice_deep_inside_is_pointed_at_where_it_is(engineer: Client) -> None:
    """A pointer leads through the body from its root: whoever follows it arrives at the fault."""
    answer = engineer.post("/sprockets", content=sprocket_with("teeth", '{"a": 1, "a": 2}'), headers=JSON)

    assert 422 == answer.status_code
    assert {"/teeth", "/teeth/a"} >= {error["pointer"] for error in answer.json()["errors"]}


def test_fault_18_a_member_named_twice_among_many_is_found_at_little_cost(engineer: Client) -> None:
    """The cost grows with the size of a body, not with its square: 200 kB must not hold up everybody else."""
    members = ",".join(f'"m{number}": 1' for number in range(15_000))
    start = time.process_time()
    answer = engineer.post("/sprockets", content=sprocket_with("pitch", f'1, {members}, "m14999": 1'), headers=JSON)
    spent = time.process_time() - start

    assert 422 == answer.status_code
    assert spent < LITTLE_CPU_SECONDS


def test_fault_18_unknown_members_in_masses_are_refused_at_little_cost(engineer: Client) -> None:
    """A hundred are named and the rest counted; looking for what each may have meant must not take long."""
    members = ",".join(f'"itch_{number}": 1' for number in range(50_000))
    start = time.process_time()
    answer = engineer.post("/sprockets", content=sprocket_with("pitch", f"1, {members}"), headers=JSON)
    spent = time.process_time() - start

    assert 422 == answer.status_code
    assert (100, 50_000) == (len(answer.json()["errors"]), answer.json()["errors_total"])
    assert spent < LITTLE_CPU_SECONDS


@pytest.mark.parametrize(
    "body", [b"", b" ", b"\n\t", b"{", b'{"teeth"', b"}", b"{}{}", b"{} x", b"{'teeth': 20}", b"nul"]
)
@pytest.mark.parametrize(("method", "path"), WRITES)
def test_fault_18_a_body_that_is_empty_cut_off_or_goes_on_cannot_be_read(
    engineer: Client, method: str, path: str, body: bytes
) -> None:
    """A body is one JSON text, from its beginning to its end."""
    before = everything(engineer)
    answer = engineer.request(method, path, content=body, headers=JSON)

    assert 400 == answer.status_code
    assert before == everything(engineer)


@pytest.mark.parametrize("body", [None, True, 20, 25.4, "teeth", "", [], [{}]])
@pytest.mark.parametrize(("method", "path"), [place for place in WRITES if place != ("POST", "/production")])
def test_fault_18_what_is_no_object_is_refused(engineer: Client, method: str, path: str, body: object) -> None:
    """An array or a bare value where an object belongs is refused as a whole."""
    before = everything(engineer)
    answer = engineer.request(method, path, content=json.dumps(body), headers=JSON)

    assert (422, [""]) == (answer.status_code, pointers(answer.json()))
    assert before == everything(engineer)


@pytest.mark.parametrize("body", [None, True, 20, 25.4, "teeth", ""])
def test_fault_18_what_is_neither_one_record_nor_many_is_refused(engineer: Client, body: object) -> None:
    """Production comes as an object or as an array of them; a bare value is refused as a whole."""
    answer = engineer.post("/production", content=json.dumps(body), headers=JSON)

    assert (422, [""]) == (answer.status_code, pointers(answer.json()))


@pytest.mark.parametrize("row", [None, True, 20, "teeth", [], [{}], {}])
def test_fault_18_a_row_that_is_no_record_is_refused(engineer: Client, row: object) -> None:
    """An array where an object belongs is refused with its row, and the right one before it is not stored."""
    before = everything(engineer)
    answer = engineer.post("/production", json=[BODIES["/production"], row])

    assert (422, {2}) == (answer.status_code, {error["row"] for error in answer.json()["errors"]})
    assert before == everything(engineer)


@patiently
@given(st.sampled_from(WRITES), st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_fault_18_no_body_gives_a_500(engineer: Client, place: tuple[str, str], body: bytes) -> None:
    """Whatever a body holds, it is refused or says that nothing is to be done, and nothing is stored."""
    before = everything(engineer)
    answer = engineer.request(*place, content=body, headers=JSON)

    assert answer.status_code in {400, 422} or (answer.status_code == 200 and body in {b"{}", b"[]"})
    assert before == everything(engineer)


@patiently
@given(
    st.sampled_from(LINES),
    st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.text(st.sampled_from([*'factory_id,"\n\r\\{}[]: 019\x00\ufeff\u2028'])).map(str.encode),
)
def test_fault_18_no_lines_give_a_500(engineer: Client, media_type: str, body: bytes) -> None:
    """Whatever stands where rows belong, it is refused or empty, and nothing is stored."""
    before = everything(engineer)
    answer = engineer.post("/production", content=body, headers={"Content-Type": media_type})

    assert answer.status_code in {400, 422} or 0 == answer.json()["records"]
    assert before == everything(engineer)

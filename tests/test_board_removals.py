"""Removing on the board: what the pages that ask, and the forms on them, do and refuse."""

import re
from html import unescape

import httpx
import pytest

from harness import Client, Service, a_sprocket
from keyholders import caller, make_key

COUNTS = {"sprocket_production_actual": 30, "sprocket_production_goal": 31}

SPROCKET = "/board/sprockets/1"
FACTORY = "/board/factories/1"
TIME = "2021-01-21T23:30:00Z"
RECORD = f"{FACTORY}/records/{TIME}"

STORED_AT = {SPROCKET: "/sprockets/1", FACTORY: "/factories/1", RECORD: f"/production/1/{TIME}"}
"""Where the API has what each page is of."""

GONE_TO = {SPROCKET: "/board/sprockets", FACTORY: "/", RECORD: f"{FACTORY}?date=2021-01-22"}
"""Where one goes on to; the factory's clocks are an hour ahead."""

OURS = {"Sec-Fetch-Site": "same-origin"}


def add(engineer: Client, page: str) -> None:
    """Store the thing that a page is of."""
    engineer.post("/sprockets", json=a_sprocket())
    engineer.post("/factories", json={"name": "Łódź", "time_zone": "Europe/Warsaw"})
    if page == RECORD:
        engineer.put(f"/production/1/{TIME}", json=COUNTS)


def send(client: Client, page: str, version: str = "", headers: dict[str, str] = OURS) -> httpx.Response:
    """Send the form of a page."""
    return client.post(f"{client.address}{page}/removal", data={"version": version}, headers=headers)


def version_on(client: Client, page: str) -> str:
    """Return the version that a page was made of."""
    (version,) = re.findall(r'name="version" value="(\w+)"', client.get(f"{client.address}{page}/removal").text)
    return str(version)


@pytest.mark.parametrize("page", STORED_AT)
def test_what_was_seen_is_removed(engineer: Client, page: str) -> None:
    """The form leads on to where it stood."""
    add(engineer, page)
    answer = send(engineer, page, version_on(engineer, page))

    assert (303, GONE_TO[page]) == (answer.status_code, answer.headers["Location"])
    assert 404 == engineer.get(STORED_AT[page]).status_code


@pytest.mark.parametrize("page", STORED_AT)
@pytest.mark.parametrize("version", ["", "0123456789abcdef", " any", "any", "*"])
def test_what_nobody_has_seen_is_not_removed(engineer: Client, page: str, version: str) -> None:
    """The form of another version, or of none, is refused with the question asked anew of what is there now."""
    add(engineer, page)
    answer = send(engineer, page, version)

    assert (412, True) == (answer.status_code, "somebody has changed it meanwhile" in answer.text)
    assert f'value="{version_on(engineer, page)}"' in answer.text
    assert 200 == engineer.get(STORED_AT[page]).status_code


@pytest.mark.parametrize("page", STORED_AT)
@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}])
def test_a_page_from_elsewhere_removes_nothing(engineer: Client, page: str, headers: dict[str, str]) -> None:
    """Not even where everybody may remove without signing in, so that no cookie tells whose page it was."""
    add(engineer, page)
    answer = send(engineer, page, version_on(engineer, page), headers)

    assert (403, 200) == (answer.status_code, engineer.get(STORED_AT[page]).status_code)
    assert "send its form from there" in answer.text
    assert "another key" not in answer.text


@pytest.mark.parametrize("page", STORED_AT)
def test_who_may_not_remove_is_not_asked_to_and_refused(service: Service, engineer: Client, page: str) -> None:
    """An operator corrects records, and removes none."""
    add(engineer, page)
    version = version_on(engineer, page)
    engineer.put(f"/production/1/{TIME}", json=COUNTS)
    with caller(service, make_key(service, "operator").secret) as operator:
        texts = [operator.get(operator.address + path).text for path in (f"{FACTORY}?date=2021-01-22", SPROCKET)]
        answer = send(operator, page, version)

    assert [False, False] == ["/removal" in text for text in texts]
    assert (403, 200) == (answer.status_code, engineer.get(STORED_AT[page]).status_code)


@pytest.mark.parametrize("page", STORED_AT)
def test_what_is_gone_cannot_be_removed_again(engineer: Client, page: str) -> None:
    """The form of a page that was left open says so."""
    add(engineer, page)
    version = version_on(engineer, page)
    send(engineer, page, version)
    answers = [send(engineer, page, version), engineer.get(f"{engineer.address}{page}/removal")]

    assert [(404, True)] * 2 == [(answer.status_code, "<main" in answer.text) for answer in answers]


def test_a_factory_with_production_stays(engineer: Client) -> None:
    """The page says why, leads to the last of its production and has no button; nor has the answer to a form sent."""
    add(engineer, FACTORY)
    version = version_on(engineer, FACTORY)
    engineer.put("/production/1/2021-01-20T12:00:00Z", json=COUNTS)
    engineer.put(f"/production/1/{TIME}", json=COUNTS)
    answers = [engineer.get(f"{engineer.address}{FACTORY}/removal"), send(engineer, FACTORY, version)]

    assert [200, 409] == [answer.status_code for answer in answers]
    for answer in answers:
        assert "It has production" in answer.text
        assert f'href="{FACTORY}?date=2021-01-22"' in answer.text
        assert 'class="danger"' not in answer.text
        assert "DELETE" not in answer.text
    assert 200 == engineer.get("/factories/1").status_code


def test_a_record_is_shown_as_the_clocks_of_its_factory_have_it(engineer: Client) -> None:
    """With what was made and wanted, so that nobody removes another."""
    add(engineer, RECORD)
    text = engineer.get(f"{engineer.address}{RECORD}/removal").text

    assert "<title>Remove the record of 22 January 2021, 00:30:00 +01:00? ·" in text
    assert "<h1>Remove the record of 22 January 2021, 00:30:00 +01:00?</h1>" in text
    assert "Factory Łódź Time 2021-01-22 00:30:00 +01:00 Made 30 Goal 31" in " ".join(
        unescape(re.sub(r"<[^>]*>", " ", text)).split()
    )

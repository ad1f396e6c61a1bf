"""The description of the API for people: one page, and one for each kind of problem."""

import re
from html import unescape
from typing import Any
from urllib.parse import urljoin

import pytest

from harness import Client

Document = dict[str, Any]

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def api(viewer: Client) -> Document:
    """Return the description for programs."""
    document: Document = viewer.get(f"{viewer.address}/openapi.json").json()
    return document


@pytest.fixture
def page(viewer: Client) -> str:
    """Return the description for people."""
    return viewer.get(f"{viewer.address}/docs").text


def words_of(page: str) -> str:
    """Return the text of a page as it is read."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def example_in(page: str, operation: str) -> bytes:
    """Return the first body that the page shows for an operation."""
    section = page.partition(f'<section id="{operation}">')[2].partition("</section>")[0]
    (example, *_) = re.findall(r"<pre>(.*?)</pre>", section, re.DOTALL)
    return unescape(example).encode()


def test_the_page_for_people_is_html(viewer: Client) -> None:
    """/docs is a page."""
    answer = viewer.get(f"{viewer.address}/docs")

    assert (200, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert answer.text.startswith("<!doctype html>")


def test_the_page_names_every_operation(api: Document, page: str) -> None:
    """Each method and path is there, with what it does. HEAD is left out: it is as GET wherever GET is."""
    words = words_of(page)
    missing = [
        place
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
        if method != "head" and (place := f"{method.upper()} {path} {operation['summary']}") not in words
    ]

    assert [] == missing


def test_the_page_shows_bodies_that_work(engineer: Client, page: str) -> None:
    """The example beside each operation can be sent as it is, from the first to the last, to an empty service."""
    record = "/production/1/2021-01-21T02:06:58Z"
    sent = {
        "post_sprocket": ("POST", "/sprockets"),
        "put_sprocket": ("PUT", "/sprockets/1"),
        "patch_sprocket": ("PATCH", "/sprockets/1"),
        "post_factory": ("POST", "/factories"),
        "put_factory": ("PUT", "/factories/1"),
        "patch_factory": ("PATCH", "/factories/1"),
        "post_production": ("POST", "/production"),
        "put_production_record": ("PUT", record),
        "patch_production_record": ("PATCH", record),
    }
    answers = {
        name: engineer.request(*target, content=example_in(page, name), headers=JSON) for name, target in sent.items()
    }

    assert {"post_sprocket": 201, "post_factory": 201} == {
        name: answer.status_code for name, answer in answers.items() if answer.status_code != 200
    }


def test_the_page_refers_to_no_other_host(page: str) -> None:
    """It works with no internet, and tells nobody who reads it."""
    assert not re.search(r"//|@import|url\(", page)


def test_every_link_of_the_page_leads_somewhere(viewer: Client, page: str) -> None:
    """Links to other pages are served, and links within the page have a target there."""
    links = set(re.findall(r'(?:href|src)="([^"]*)"', page))
    within = {link[1:] for link in links if link.startswith("#")}
    without = {link for link in links if not link.startswith("#")}

    assert within <= set(re.findall(r'id="([^"]*)"', page))
    assert {"/board/files/docs.css", "/openapi.json"} <= without
    assert [200] * len(without) == [viewer.get(urljoin(f"{viewer.address}/docs", link)).status_code for link in without]


def test_the_page_runs_no_script(viewer: Client) -> None:
    """Its policy forbids everything but its own style, and it holds nothing that the policy would have to stop."""
    answer = viewer.get(f"{viewer.address}/docs")
    directives = dict(directive.split(maxsplit=1) for directive in answer.headers["Content-Security-Policy"].split(";"))

    assert ("'none'", "'self'") == (directives["default-src"], directives["style-src"])
    assert directives.keys().isdisjoint({"script-src", "script-src-elem", "script-src-attr"})
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", answer.text)


def test_the_style_of_the_page_loads(viewer: Client) -> None:
    """A browser takes a style only under its own media type; it refers to no other host either."""
    answer = viewer.get(f"{viewer.address}/board/files/docs.css")

    assert (200, "text/css; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert "body {" in answer.text
    assert not re.search(r"//|@import|url\(", answer.text)


def test_the_type_of_every_problem_leads_to_a_page(viewer: Client, api: Document) -> None:
    """Each has a page that names it, its status and what to do, under the same policy as the other pages."""
    slugs = {
        slug for methods in api["paths"].values() for operation in methods.values() for slug in operation["x-problems"]
    }
    pages = {slug: viewer.get(f"{viewer.address}/problems/{slug}") for slug in slugs}

    assert slugs == {
        slug for slug, answer in pages.items() if answer.status_code == 200 and slug in words_of(answer.text)
    }
    assert {("text/html; charset=utf-8", viewer.get(f"{viewer.address}/docs").headers["Content-Security-Policy"])} == {
        (answer.headers["Content-Type"], answer.headers["Content-Security-Policy"]) for answer in pages.values()
    }


def test_a_problem_that_there_is_not_has_no_page(viewer: Client) -> None:
    """What nobody knows is 404, as everywhere."""
    answer = viewer.get(f"{viewer.address}/problems/nothing")

    assert (404, "/problems/not-found") == (answer.status_code, answer.json()["type"])

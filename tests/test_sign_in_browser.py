"""Signing in on the board in a real browser: by key, by an issuer, and by the link for a screen."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from certified_provider import CertifiedProvider
from chromium import Visitor
from harness import Service
from keyholders import WRONG_KEY, make_key
from sprocket_factory.entities.key import remove_key
from sprocket_factory.settings import Settings


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Service]:
    """Run a service that lets nobody in who does not sign in."""
    with Service(Settings(database_url=f"sqlite:///{tmp_path / 'closed.db'}"), anonymous_role="none") as running:
        yield running


@pytest.fixture
def visitor(browser: Browser, closed: Service) -> Iterator[Visitor]:
    """Return somebody with a browser, who has not signed in."""
    somebody = Visitor(browser, closed.address)
    yield somebody
    somebody.close()


def sign_in(visitor: Visitor, key: str) -> None:
    """Sign in with a key."""
    visitor.page.get_by_label("Key").fill(key)
    visitor.page.get_by_role("button", name="Sign in").click()


def test_a_key_signs_in_where_one_wanted_to_go_and_out_again(visitor: Visitor, closed: Service) -> None:
    """The page to sign in keeps nobody out; a wrong key is told; the cookie is no script's."""
    page = visitor.page
    page.goto("/board/sprockets?teeth=20")
    assert [] == visitor.axe()
    sign_in(visitor, WRONG_KEY)
    expect(page.get_by_role("alert")).to_be_visible()
    visitor.faults.clear()  # the browser writes every refusal to its console

    sign_in(visitor, make_key(closed, "engineer").secret)
    expect(page).to_have_url(f"{closed.address}/board/sprockets?teeth=20")
    expect(page.get_by_role("banner")).to_contain_text("the engineer")
    assert not page.evaluate("document.cookie")

    page.get_by_role("button", name="Sign out").click()
    page.goto("/")
    expect(page).to_have_url(f"{closed.address}/sign-in")
    assert [] == visitor.faults


def test_forms_work_for_who_has_signed_in(visitor: Visitor, closed: Service) -> None:
    """The cookie is taken by the API, since the request comes from a page of the service."""
    page = visitor.page
    page.goto("/board/new-factory")
    sign_in(visitor, make_key(closed, "engineer").secret)
    page.get_by_label("Name").fill("Leeds")
    page.get_by_role("button", name="Add").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Leeds")
    assert [] == visitor.faults


def test_who_is_signed_out_meanwhile_is_asked_to_sign_in(visitor: Visitor, closed: Service) -> None:
    """A key that is revoked ends what was signed in with it; a page that is still open leads to where one signs in."""
    key = make_key(closed, "engineer")
    page = visitor.page
    page.goto("/board/new-factory")
    sign_in(visitor, key.secret)
    page.get_by_label("Name").fill("Leeds")
    closed.run(closed.database.write, remove_key, key.id, by="test")
    page.get_by_role("button", name="Add").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_an_issuer_signs_in(browser: Browser, tmp_path: Path) -> None:
    """By the code flow, there and back, to where one wanted to go."""
    with CertifiedProvider() as provider:
        service = Service(
            provider.settings_to_sign_in(f"sqlite:///{tmp_path / 'sso.db'}", "board-on-this-machine"),
            anonymous_role="none",
        )
        service.settings = replace(service.settings, public_url=service.address)
        with service:
            visitor = Visitor(browser, service.address)
            page = visitor.page
            page.goto("/board/sprockets")
            page.get_by_role("link", name="Sign in with").click()
            page.locator("input[name=login]").fill("alice")
            page.locator("input[name=password]").fill("any will do")
            page.get_by_role("button", name="Sign-in").click()
            page.get_by_role("button", name="Continue").click()

            expect(page).to_have_url(f"{service.address}/board/sprockets")
            expect(page.get_by_role("banner")).to_contain_text("Alice Sheffield")
            visitor.close()


def test_a_screen_looks_and_changes_nothing(visitor: Visitor, closed: Service) -> None:
    """The link leads to the wall, without itself in the address; the wall lives, and stays when it is loaded again."""
    page = visitor.page
    page.goto(f"/board/kiosk/{make_key(closed, 'viewer').secret}")
    expect(page).to_have_url(f"{closed.address}/board/wall")
    page.reload()
    expect(page).to_have_url(f"{closed.address}/board/wall")
    with page.expect_response("**/events?*") as listening:
        page.reload()

    assert 200 == listening.value.status
    assert [] == visitor.faults

"""The problems as people read about them: the pages of the service, and docs/errors.md."""

import ast
import re
from pathlib import Path

import pytest

from harness import Client
from sprocket_factory import errors
from sprocket_factory.endpoints.problem_kinds import ALL_KINDS, KINDS
from sprocket_factory.endpoints.problem_pages import as_markdown

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "sprocket_factory"

SLUGS = [kind.slug for kind in ALL_KINDS]


@pytest.mark.parametrize("slug", SLUGS)
def test_a_problem_has_a_page_that_says_what_to_do(viewer: Client, slug: str) -> None:
    """Whoever follows the type of a problem learns what it means and what to do."""
    answer = viewer.get(f"{viewer.address}/problems/{slug}")

    assert (200, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert f"/problems/{slug}" in answer.text
    assert ["What it means", "What to do"] == re.findall(r"<h2>(.*?)</h2>", answer.text)


def test_a_page_of_no_problem_is_not_found(viewer: Client) -> None:
    """A slug that no problem has is 404."""
    assert 404 == viewer.get(f"{viewer.address}/problems/nothing").status_code


def test_a_browser_gets_the_page(viewer: Client) -> None:
    """What accepts HTML alone is not refused."""
    answer = viewer.get(f"{viewer.address}/problems/stale", headers={"Accept": "text/html"})

    assert 200 == answer.status_code


def test_the_document_is_that_of_the_code() -> None:
    """docs/errors.md is made by bin/docs; run it after a change of the table."""
    assert as_markdown() == ROOT.joinpath("docs", "errors.md").read_text()


def test_every_refusal_has_its_kind() -> None:
    """Whatever the code can raise at a caller has a status, a type and a page."""
    refusals = {
        found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, errors.Refusal)
    }
    never_over_http = {errors.Refusal, errors.NotNow, errors.Unusable, errors.Damaged}

    assert refusals - never_over_http == KINDS.keys()


@pytest.mark.parametrize("path", sorted(SOURCE.glob("endpoints/*.py")), ids=lambda path: path.name)
def test_an_endpoint_declares_what_its_entity_refuses(path: Path) -> None:
    """An endpoint that calls a function whose docstring says `Raises NotFound` declares NotFound, and so on."""
    raises = {name: _raised(doc) for name, doc in _entity_docstrings().items()}
    tree = ast.parse(path.read_text())
    undeclared = {
        (endpoint.name, refusal)
        for endpoint in ast.walk(tree)
        if isinstance(endpoint, ast.AsyncFunctionDef) and endpoint.decorator_list
        for called in {node.id for node in ast.walk(endpoint) if isinstance(node, ast.Name)}
        for refusal in raises.get(called, set()) - _declared(endpoint)
    }

    assert set() == undeclared


def _entity_docstrings() -> dict[str, str]:
    return {
        node.name: ast.get_docstring(node) or ""
        for path in SOURCE.glob("entities/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _raised(docstring: str) -> set[str]:
    """Return those of the refusals a docstring names that have to be declared: the others any endpoint may give."""
    return set(re.findall(r"\b(NotFound|Conflict|Stale)\b", docstring.partition("Raises")[2]))


def _declared(endpoint: ast.AsyncFunctionDef) -> set[str]:
    words = " ".join(ast.unparse(decorator) for decorator in endpoint.decorator_list)
    return set(re.findall(r"\b(NotFound|Conflict|Stale)\b", words))

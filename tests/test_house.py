"""The rules of the house, executed. Each message says why the rule is there."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "sprocket_factory"
TESTS = ROOT / "tests"

MAX_FILE_LINES = 300
MAX_ENDPOINT_LINES = 15

ENDPOINT = re.compile(r"(get|post|put|patch|delete)\(")

SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b")

WAYS_TO_SKIP = {"skip", "skipif", "skipTest", "SkipTest", "importorskip", "xfail"}

MAY_SKIP = {"chromium.py": ["skip"]}
"""Without a browser: the end of the run says so, and .ci/run takes it for a failure."""

FAULTS = set(range(1, 41))
"""The rows of the table of faults and bad inputs that the service was built against."""


def modules(folder: Path) -> list[Path]:
    """Return every Python file below a folder."""
    return sorted(folder.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return what a file is called within the checkout."""
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Give every function of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def strings(path: Path) -> Iterator[str]:
    """Give every string of a file that is no docstring."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def names_in(path: Path) -> Iterator[str]:
    """Give the name of everything that a file takes from a module or an object."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(attr=name) | ast.alias(name=name):
                yield name


def test_imports_go_down_only() -> None:
    """The contracts of import-linter hold: what points both ways is a knot soon."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize("path", modules(SOURCE / "endpoints"), ids=name_of)
def test_endpoints_write_no_sql(path: Path) -> None:
    """SQL stands beside its function in entities: a query anywhere else is not found when the schema changes."""
    assert [] == [text for text in strings(path) if SQL.search(text)]


@pytest.mark.parametrize("path", modules(SOURCE / "endpoints"), ids=name_of)
def test_an_endpoint_fits_on_a_screen(path: Path) -> None:
    """What is longer does an entity's work."""
    lengths = {
        function.name: (function.end_lineno or 0) - function.lineno + 1
        for function in functions(path)
        if any(ENDPOINT.match(text) for text in map(ast.unparse, function.decorator_list))
    }

    assert {} == {name: lines for name, lines in lengths.items() if lines > MAX_ENDPOINT_LINES}


@pytest.mark.parametrize("path", modules(SOURCE), ids=name_of)
def test_a_file_is_short(path: Path) -> None:
    """A file that needs a map is split by noun."""
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", modules(TESTS), ids=name_of)
def test_a_test_says_what_it_promises(path: Path) -> None:
    """A test without a docstring breaks one day, and nobody knows what broke."""
    assert [] == [
        function.name
        for function in functions(path)
        if function.name.startswith("test_") and ast.get_docstring(function) is None
    ]


@pytest.mark.parametrize("path", modules(TESTS), ids=name_of)
def test_no_test_is_skipped(path: Path) -> None:
    """A skipped test looks green and proves nothing."""
    assert MAY_SKIP.get(path.name, []) == [name for name in names_in(path) if name in WAYS_TO_SKIP]


def test_every_fault_has_its_test() -> None:
    """A fault is answered rightly only as long as a numbered test says so. Those that have none are named."""
    numbers = {
        int(found.group(1))
        for path in modules(TESTS)
        for function in functions(path)
        if (found := re.match(r"test_fault_(\d\d)_", function.name))
    }

    assert set() == FAULTS - numbers


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-bench.txt"])
def test_pins_are_hashed_and_name_no_index(name: str) -> None:
    """A package that changed under its version is refused, and every machine asks the index it is set up for."""
    text = ROOT.joinpath(name).read_text()
    pins = re.findall(r"^([a-z0-9-]+)==.*(?:\n +--hash=.*)+", text, re.MULTILINE)

    assert len(re.findall(r"^[a-z0-9-]+==", text, re.MULTILINE)) == len(pins)
    assert re.search(r"index-url|find-links|https?:", text) is None


@pytest.mark.parametrize("folder", ["axe", "oidc_provider"])
def test_what_comes_from_npm_is_pinned_and_hashed_and_names_no_registry(folder: str) -> None:
    """As the pins of Python: what the tests need is the same everywhere, and nothing else takes its place."""
    text = (TESTS / folder / "package-lock.json").read_text()
    _, *packages = json.loads(text)["packages"].values()

    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert re.search(r"resolved|registry", text) is None


def test_only_app_and_commands_read_settings() -> None:
    """Whoever reads settings himself cannot be tried with others."""
    readers = [path for path in modules(SOURCE) if "sprocket_factory.settings" in path.read_text()]

    assert {"app.py", "commands"} == {path.relative_to(SOURCE).parts[0] for path in readers}


def test_migrations_are_numbered_without_gaps() -> None:
    """Two migrations of one number, or a hole where one was taken back, leave databases that differ."""
    numbers = sorted(int(path.name[:4]) for path in SOURCE.glob("database/migrations/*.sqlite.sql"))

    assert list(range(1, len(numbers) + 1)) == numbers


def test_decisions_are_numbered_each_once() -> None:
    """A reference to a decision leads to one and the same."""
    numbers = sorted(path.name[:4] for path in ROOT.joinpath("docs", "decisions").glob("*.md"))

    assert sorted(set(numbers)) == numbers


def test_a_reference_to_a_decision_leads_to_one() -> None:
    """Whoever wants to know why finds it."""
    numbers = {path.name[:4] for path in ROOT.joinpath("docs", "decisions").glob("*.md")}
    named = {
        number
        for path in modules(SOURCE)
        for number in re.findall(r"docs/decisions/(\d{4})", path.read_text(encoding="utf-8"))
    }

    assert set() == named - numbers

"""The packages: what is built from the checkout, without any network, installs and runs."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from harness import TLS, Program, clean_environment
from sprocket_factory import __version__

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"

BUILD = "import sys; from flit_core import buildapi as b; print(b.build_wheel(sys.argv[1]), b.build_sdist(sys.argv[1]))"

NOT_PACKAGED = {".venv", ".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}


class Built(NamedTuple):
    """A wheel and a source distribution."""

    wheel: Path
    sdist: Path


def build(checkout: Path, folder: Path) -> Built:
    """Build both with the pinned backend alone, as a front end would."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=checkout, capture_output=True, text=True, check=True
    )
    wheel, sdist = done.stdout.split()
    return Built(folder / wheel, folder / sdist)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "checkout", ignore=lambda _folder, names: NOT_PACKAGED & set(names), symlinks=True)
    return build(folder / "checkout", folder / "dist")


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a folder, without an index."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(folder), str(built.wheel)], check=True, capture_output=True)
    return folder


def files_of(wheel: Path) -> set[str]:
    """Return the names of what a wheel brings, but for what it says of itself."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_a_wheel_brings_every_file_of_the_program(built: Built) -> None:
    """Migrations, pages and the mark of types included."""
    files = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"}

    assert files == files_of(built.wheel)
    assert "sprocket_factory/py.typed" in files
    assert {".sql", ".html", ".css", ".py"} <= {Path(name).suffix for name in files}


def test_a_wheel_says_what_it_is(built: Built) -> None:
    """Its version is that of the program, and what it needs is what pyproject.toml asks for."""
    with zipfile.ZipFile(built.wheel) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        metadata = wheel.read(name).decode()

    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata
    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["project"]
    extras = [wanted for extra in project.get("optional-dependencies", {}).values() for wanted in extra]
    assert len(project["dependencies"]) + len(extras) == metadata.count("\nRequires-Dist: ")


def test_the_source_distribution_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    """Whoever builds from it has what we have, and the documents with it."""
    with tarfile.open(built.sdist) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (checkout,) = tmp_path.iterdir()
    again = build(checkout, tmp_path / "dist")

    assert files_of(built.wheel) == files_of(again.wheel)
    assert {"README.md", "LICENSE", "CHANGELOG.md", "docs", "deploy"} <= {path.name for path in checkout.iterdir()}


def test_what_is_installed_tells_its_version(installed: Path) -> None:
    """By the program's own name."""
    done = subprocess.run(
        [installed / "bin" / "sprocket-factory", "--version"],
        env=clean_environment() | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert f"sprocket-factory, version {__version__}\n" == done.stdout


def test_what_is_installed_serves(
    installed: Path, start: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API on a new database, and the pages that come as files; all of it from what is installed."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    asked = [sys.executable, "-c", "import sprocket_factory; print(sprocket_factory.__file__)"]
    found = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=installed.parent).stdout
    address = start("serve", "--port", "0").wait_for_address()
    answers = {
        path: httpx.get(f"{address}{path}", trust_env=False, verify=TLS).status_code
        for path in ("/sprocketFactory/v1/sprockets", "/docs", "/openapi.json", "/problems/invalid")
    }

    assert f"{installed / 'sprocket_factory' / '__init__.py'}\n" == found
    assert {200} == set(answers.values()), answers

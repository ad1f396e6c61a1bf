"""`sprocket-factory export`: out with the formats and filters of the API, and back in with `load`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import Client, Program, Service, a_sprocket
from sprocket_factory.commands import cli

Run = Callable[..., Result]

HEADER = "sprocket_production_actual,sprocket_production_goal,time,factory_id\r\n"


@pytest.fixture
def run(service: Service) -> Run:
    """Return what runs a command on the database of the service, which goes on serving."""

    def run_command(*arguments: str, url: str = service.settings.database_url) -> Result:
        return CliRunner().invoke(cli, [*arguments, "--database-url", url])

    return run_command


@pytest.fixture(autouse=True)
def two_factories(engineer: Client, service: Service) -> None:
    """Make two factories with a record each, and a sprocket."""
    assert service.address
    for factory_id, name in enumerate(("Leeds", "=Pune"), 1):
        engineer.post("/factories", json={"name": name, "time_zone": "Asia/Kolkata"})
        record = {"sprocket_production_actual": 30 + factory_id, "sprocket_production_goal": 32}
        engineer.put(f"/production/{factory_id}/2021-01-21T02:06:58Z", json=record)
    engineer.post("/sprockets", json=a_sprocket())


@pytest.mark.parametrize("format_", ["csv", "ndjson", "json"])
@pytest.mark.parametrize("what", ["sprockets", "factories", "production"])
def test_an_export_is_what_the_api_lists(viewer: Client, run: Run, what: str, format_: str) -> None:
    """One code makes both, so they are the same byte for byte."""
    exported = run("export", what, "--format", format_)

    assert (0, viewer.get(f"/{what}", params={"format": format_}).content) == (
        exported.exit_code,
        exported.stdout_bytes,
    )


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("p.csv", "csv"),
        ("p.ndjson", "ndjson"),
        ("p.jsonl", "ndjson"),
        ("p.json", "json"),
        ("P.JSON", "json"),
        ("p", "csv"),
    ],
)
def test_a_file_has_the_format_of_its_name(viewer: Client, run: Run, tmp_path: Path, name: str, format_: str) -> None:
    """Its suffix does, where no format is named; what has none that is known holds CSV."""
    run("export", "production", "--output", str(tmp_path / name))

    assert viewer.get("/production", params={"format": format_}).content == (tmp_path / name).read_bytes()


def test_a_format_that_is_not_that_of_the_name_is_refused(run: Run, tmp_path: Path) -> None:
    """Nothing is written, and the sentence says what to leave out."""
    exported = run("export", "production", "--format", "json", "--output", str(tmp_path / "p.csv"))

    assert 2 == exported.exit_code
    assert "p.csv is the name of a csv file" in exported.stderr
    assert "Leave --format out, or choose another --output" in exported.stderr
    assert not (tmp_path / "p.csv").exists()


def test_an_export_takes_the_filters_of_the_api(run: Run) -> None:
    """NAME=VALUE is a parameter of the list."""
    exported = run("export", "production", "factory_id=2", "sort=-time", "limit=1")

    assert f"{HEADER}32,32,2021-01-21T02:06:58Z,2\r\n".encode() == exported.stdout_bytes


@pytest.mark.parametrize(
    ("filter_", "complaint"),
    [
        ("factory=2", "There is no parameter 'factory' here. Did you mean factory_id?"),
        ("factory_id", "'factory_id' is no NAME=VALUE"),
        ("time__gte=yesterday", "'yesterday' is not a time"),
        ("cursor=abc", "There is no parameter 'cursor' here"),
    ],
)
def test_a_wrong_filter_is_refused(run: Run, filter_: str, complaint: str) -> None:
    """Nothing is written, and the sentence says what is wrong."""
    exported = run("export", "production", filter_)

    assert 0 != exported.exit_code
    assert b"" == exported.stdout_bytes
    assert complaint in exported.stderr


def test_no_database_is_made_for_an_export(run: Run, tmp_path: Path) -> None:
    """A slip in the address is an error, not an empty file."""
    exported = run("export", "production", url=f"sqlite:///{tmp_path / 'nothing.db'}")

    assert 1 == exported.exit_code
    assert not (tmp_path / "nothing.db").exists()


def test_a_file_that_cannot_be_written_is_said(run: Run, tmp_path: Path) -> None:
    """The sentence names the file."""
    exported = run("export", "production", "--output", str(tmp_path / "nowhere" / "out.csv"))

    assert 1 == exported.exit_code
    assert "out.csv cannot be written: No such file or directory" in exported.stderr


def test_a_file_stays_as_it_was_where_the_export_fails(run: Run, tmp_path: Path) -> None:
    """What is written gets its name once it is whole."""
    output = tmp_path / "out.csv"
    output.write_text("before")
    nothing = f"sqlite:///{tmp_path / 'nothing.db'}"
    exported = run("export", "production", "--output", str(output), "--force", url=nothing)

    assert 1 == exported.exit_code
    assert "There is no database" in exported.stderr
    assert ("before", []) == (output.read_text(), list(tmp_path.glob("*.part")))


def test_a_file_that_is_there_is_replaced_only_by_force(run: Run, tmp_path: Path) -> None:
    """What it was is not lost by a slip."""
    output = tmp_path / "out.csv"
    output.write_text("before")
    refused = run("export", "production", "--output", str(output))
    kept = output.read_text()
    forced = run("export", "production", "--output", str(output), "--force")

    assert (1, "before") == (refused.exit_code, kept)
    assert f"There is a file {output} already. Choose another name, or say --force." in refused.stderr
    assert 0 == forced.exit_code
    assert output.read_bytes().startswith(HEADER.encode())


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "jsonl", "json"])
def test_an_export_loads_elsewhere_and_is_the_same_again(
    run: Run, start: Callable[..., Program], tmp_path: Path, database_url: str, suffix: str
) -> None:
    """A file from one server loads into another whose factories have the same ids; exported again nothing differs."""
    first, second = tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix}"
    run("export", "production", "--output", str(first))
    program = start("serve", "--port", "0", "--database-url", database_url)
    with Client(program.wait_for_address()) as other:
        for name in ("Leeds", "Pune"):
            other.post("/factories", json={"name": name})
    loaded = run("load", str(first), url=database_url)
    run("export", "production", "--output", str(second), url=database_url)

    assert 0 == loaded.exit_code, loaded.stderr
    assert first.read_bytes() == second.read_bytes()
    assert 2 == first.read_bytes().count(b"2021-01-21T02:06:58Z")


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "json"])
@pytest.mark.parametrize("what", ["sprockets", "factories"])
def test_a_file_that_holds_no_records_is_told_what_may_hold_it(
    run: Run, tmp_path: Path, what: str, suffix: str
) -> None:
    """Whoever loads an export of sprockets or factories is told how they come in."""
    file = tmp_path / f"s.{suffix}"
    run("export", what, "--output", str(file))
    loaded = run("load", str(file))

    assert 1 == loaded.exit_code
    assert "Only production records are read so. Factories and sprockets come in a .json file" in loaded.stderr

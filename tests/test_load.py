"""`sprocket-factory load`: files of factories, production and sprockets."""

import json
import os
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness import Client, Service, a_sprocket, clean_environment
from sprocket_factory.commands import cli

TIMES = [1611194818, 1611194878, 1611194938.5]


def a_seed(**chart_data: object) -> dict[str, Any]:
    """Return a file of one factory with three records and two equal sprockets, with these columns instead."""
    columns = {
        "sprocket_production_actual": [32, 29, 31],
        "sprocket_production_goal": [32, 30, 31],
        "time": TIMES,
    } | chart_data
    return {
        "factories": [{"factory": {"name": "Factory 1", "chart_data": columns}}],
        "sprockets": [a_sprocket(), a_sprocket()],
    }


class Loader:
    """Runs `load` on the files of a folder, beside a service that serves the database."""

    def __init__(self, folder: Path, service: Service) -> None:
        self.folder = folder
        self.address = service.address
        self.database_url = service.settings.database_url

    def load(self, name: str, content: object, *arguments: str) -> Result:
        """Write the content to a file and load it. An exception that nobody foresaw comes through."""
        file = self.folder / name
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        unset = dict.fromkeys(os.environ.keys() - clean_environment().keys())
        with chdir(self.folder):
            return CliRunner(env=unset).invoke(
                cli, ["load", str(file), *arguments, "--database-url", self.database_url], catch_exceptions=False
            )

    def get(self, path: str) -> Any:
        """Return what the API says about the database."""
        with Client(self.address) as viewer:
            answer = viewer.get(path)
        assert 200 == answer.status_code
        return answer.json()


@pytest.fixture
def loader(tmp_path: Path, service: Service) -> Loader:
    """Return what loads files."""
    return Loader(tmp_path, service)


def counts(output: str) -> dict[str, list[int]]:
    """Return created, replaced, unchanged and skipped of each entity from the table that load prints."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    return {name: [int(cell.replace(",", "")) for cell in cells] for name, *cells in rows}


def test_a_file_of_factories_and_sprockets_is_loaded_as_it_is(loader: Loader) -> None:
    """Columns become records with the file's values and instants."""
    done = loader.load("seed.json", a_seed())

    assert 0 == done.exit_code, done.stderr
    assert {"Factories": [1, 0, 0, 0], "Production": [3, 0, 0, 0], "Sprockets": [2, 0, 0, 0]} == counts(done.stdout)
    records = loader.get("/production")
    assert TIMES == [datetime.fromisoformat(record["time"]).timestamp() for record in records]
    assert [(32, 32), (29, 30), (31, 31)] == [
        (record["sprocket_production_actual"], record["sprocket_production_goal"]) for record in records
    ]


def test_loading_the_same_file_again_changes_nothing(loader: Loader) -> None:
    """Factories are known by name, production by factory and time, and a sprocket type is stored as often as named."""
    loader.load("seed.json", a_seed())

    again = loader.load("seed.json", a_seed())

    assert {"Factories": [0, 0, 1, 0], "Production": [0, 0, 3, 0], "Sprockets": [0, 0, 2, 0]} == counts(again.stdout)
    assert [3, 2] == [len(loader.get("/production")), len(loader.get("/sprockets"))]


def test_a_type_that_is_stored_once_and_named_twice_is_added_once(loader: Loader) -> None:
    """A type is stored as often as the file names it and no more."""
    loader.load("one.json", {"sprockets": [a_sprocket()]})

    done = loader.load("three.json", {"sprockets": [a_sprocket(), a_sprocket(), a_sprocket(teeth=21)]})

    assert [2, 0, 1, 0] == counts(done.stdout)["Sprockets"]


def test_duplicates_are_added_where_they_are_allowed(loader: Loader) -> None:
    """`--allow-duplicates` adds every type of the file once more."""
    loader.load("one.json", {"sprockets": [a_sprocket()]})

    done = loader.load("one.json", {"sprockets": [a_sprocket()]}, "--allow-duplicates")

    assert [1, 0, 0, 0] == counts(done.stdout)["Sprockets"]


@pytest.mark.parametrize(
    ("on_conflict", "expected", "stored"),
    [("replace", [0, 1, 2, 0], [32, 99, 31]), ("skip", [0, 0, 2, 1], [32, 29, 31])],
)
def test_a_record_with_other_values_is_replaced_or_skipped_as_told(
    loader: Loader, on_conflict: str, expected: list[int], stored: list[int]
) -> None:
    """`--on-conflict` says what becomes of a record that is stored with other values."""
    loader.load("seed.json", a_seed())

    done = loader.load("other.json", a_seed(sprocket_production_actual=[32, 99, 31]), "--on-conflict", on_conflict)

    assert expected == counts(done.stdout)["Production"]
    assert stored == [record["sprocket_production_actual"] for record in loader.get("/production")]


def test_a_record_with_other_values_is_refused_unless_told_otherwise(loader: Loader) -> None:
    """The refusal names the file, the row and both values; nothing of the file is stored."""
    loader.load("seed.json", a_seed())
    other = a_seed(sprocket_production_actual=[32, 99, 31])
    other["sprockets"].append(a_sprocket(teeth=21))

    done = loader.load("other.json", other)

    assert 1 == done.exit_code
    assert "other.json: 1 of the rows say otherwise than what is stored" in done.stderr
    assert "row 2: Factory 1 at 2021-01-21T02:07:58Z stands at actual 29, goal 30; the row says 99, 30." in done.stderr
    assert 2 == len(loader.get("/sprockets"))


@pytest.mark.parametrize(
    ("chart_data", "place"),
    [
        ({"time": [1611194818, 1611194878]}, "/factories/0/factory/chart_data: The columns are of unequal length"),
        ({"sprocket_production_goal": [32, 30, "31"]}, "sprocket_production_goal/2: Expected int, got str"),
        ({"sprocket_production_actual": [32, -1, 31]}, "sprocket_production_actual/1: Expected int >= 0"),
        ({"sprocket_production_actual": [32, 1.5, 31]}, "sprocket_production_actual/1: Expected int, got float"),
        ({"sprocket_production_actual": [32, 2**31, 31]}, "sprocket_production_actual/1: Expected int <= 2147483647"),
        ({"time": [1611194818, 1611194878, 1611194938000]}, "chart_data/time/2: The time 1611194938000 is outside"),
        ({"time": ["2021-01-21T02:06:58", 1, 1]}, "chart_data/time/0: The time '2021-01-21T02:06:58' has no zone"),
        ({"extra": []}, "contains unknown field extra"),
    ],
)
def test_a_wrong_column_is_refused_with_its_place(loader: Loader, chart_data: dict[str, object], place: str) -> None:
    """The refusal names the file and the place in it, and not even the right factories of the file are stored."""
    wrong = a_seed(**chart_data)
    wrong["factories"].insert(0, {"factory": a_seed()["factories"][0]["factory"] | {"name": "Right"}})

    done = loader.load("wrong.json", wrong)

    assert 1 == done.exit_code
    assert "wrong.json" in done.stderr
    assert place.replace("factories/0", "factories/1") in done.stderr
    assert [[], []] == [loader.get("/production"), loader.get("/sprockets")]


def a_seed_in(time_zone: str) -> dict[str, Any]:
    """Return a file of one factory with its time zone."""
    seed = a_seed()
    seed["factories"][0]["factory"]["time_zone"] = time_zone
    return seed


def test_a_factory_is_made_in_the_time_zone_that_the_file_names(loader: Loader) -> None:
    """Its records are counted in the days of its own clocks. A file that names none says nothing against it."""
    done = loader.load("seed.json", a_seed_in("Asia/Kolkata"))
    again = [loader.load("seed.json", seed) for seed in (a_seed_in("Asia/Kolkata"), a_seed())]

    assert [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]] == [counts(one.stdout)["Factories"] for one in (done, *again)]
    assert ["Asia/Kolkata"] == [factory["time_zone"] for factory in loader.get("/factories")]
    assert ["2021-01-21T00:00:00+05:30"] == [day["start"] for day in loader.get("/attainment?by=day")]


@pytest.mark.parametrize(
    ("on_conflict", "code", "expected", "stored"),
    [
        ("error", 1, None, "UTC"),
        ("replace", 0, [0, 1, 0, 0], "Asia/Kolkata"),
        ("skip", 0, [0, 0, 0, 1], "UTC"),
    ],
)
def test_another_time_zone_than_the_stored_one_is_a_conflict(
    loader: Loader, on_conflict: str, code: int, expected: list[int] | None, stored: str
) -> None:
    """`--on-conflict` says what becomes of it; a new zone counts the days anew."""
    loader.load("seed.json", a_seed())
    done = loader.load("seed.json", a_seed_in("Asia/Kolkata"), "--on-conflict", on_conflict)
    (day,) = loader.get("/attainment?by=day")

    assert (code, expected) == (done.exit_code, counts(done.stdout).get("Factories"))
    complaint = "seed.json: Factory 1 is in the time zone UTC, and the file says Asia/Kolkata."
    assert (code == 1) == (complaint in done.stderr)
    assert stored == loader.get("/factories/1")["time_zone"]
    assert (stored != "UTC") == day["start"].endswith("+05:30")


def test_a_file_that_says_two_time_zones_of_a_factory_is_told_so(loader: Loader) -> None:
    """Nothing is stored then, so no factory is said to be in either."""
    seed = a_seed_in("UTC")
    seed["factories"] += a_seed_in("Asia/Kolkata")["factories"]
    done = loader.load("seed.json", seed)

    assert 1 == done.exit_code
    assert "seed.json: Factory 1 was named before, in the time zone UTC, and the file says Asia/Kolkata." in done.stderr
    assert [] == loader.get("/factories")


def test_an_unknown_time_zone_is_refused_with_its_place(loader: Loader) -> None:
    """The nearest is named, and nothing is stored."""
    done = loader.load("seed.json", a_seed_in("Asia/Kolkatta"))

    assert 1 == done.exit_code
    assert "/factories/0/factory/time_zone: There is no time zone 'Asia/Kolkatta'." in done.stderr
    assert "Did you mean Asia/Kolkata?" in done.stderr
    assert [] == loader.get("/factories")


def test_a_missing_member_is_named(loader: Loader) -> None:
    """A file without a column is refused with the name of the column and where it should be."""
    wrong = a_seed()
    del wrong["factories"][0]["factory"]["chart_data"]["time"]

    done = loader.load("wrong.json", wrong)

    assert 1 == done.exit_code
    assert "/factories/0/factory/chart_data: Object missing required field time" in done.stderr


CSV = """sprocket_production_goal,time,factory_id,sprocket_production_actual
32,2021-01-21T03:06:58+01:00,1,32
30,1611194878,1,29
"""

NDJSON = """{"factory_id":1,"time":"2021-01-21T02:06:58Z","sprocket_production_actual":32,"sprocket_production_goal":32}

{"sprocket_production_goal": 30, "time": 1611194878, "factory_id": 1, "sprocket_production_actual": 29}
"""


ARRAY = "\n[" + NDJSON.strip().replace("\n\n", ", ") + "]\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", CSV),
        ("r.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
        ("r.ndjson", NDJSON),
        ("r.json", ARRAY),
    ],
)
def test_records_are_loaded_from_csv_ndjson_and_arrays(loader: Loader, name: str, content: str) -> None:
    """Members and columns stand in any order; a byte order mark, CRLF and blank lines are passed over."""
    loader.load("seed.json", {"factories": a_seed()["factories"]})

    done = loader.load(name, content)

    assert 0 == done.exit_code, done.stderr
    assert [0, 0, 2, 0] == counts(done.stdout)["Production"]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("r.csv", CSV.replace(",", ";"), "The header row has semicolons between its columns. Put commas there"),
        ("r.csv", CSV.replace("goal", "gaol"), "There is no column 'sprocket_production_gaol'. Did you mean"),
        ("r.csv", CSV.replace("factory_id", "time"), "The column factory_id is missing."),
        ("r.csv", CSV.replace("30,", "+30,"), "row 2 /sprocket_production_goal: '+30' is no whole number"),
        ("r.csv", CSV.replace("30,", "30,1,"), "row 2: The row has 5 cells, the header 4."),
        ("r.csv", CSV.replace("1611194878", "yesterday"), "row 2 /time: 'yesterday' is not a time."),
        ("r.csv", CSV + '30,"1611194878', "Row 3 opens a quotation mark and never closes it."),
        ("r.csv", CSV.replace(",1,", ",7,"), "row 1 /factory_id: No factory has the id 7."),
        ("r.ndjson", NDJSON.replace("29}", "29"), "row 2"),
        ("r.ndjson", NDJSON.replace("29}", "2.0}"), "row 2 /sprocket_production_actual: Expected int, got float."),
        ("r.ndjson", NDJSON.replace("29}", '29, "time": 1611194878}'), "row 2 /time: This member is named twice."),
        ("r.xml", "<records/>", "Nothing is known of .xml files."),
        ("r.json", "[1, 2", "The body is no JSON that can be read"),
        ("r.json", ARRAY.replace("29}", "2.0}"), "row 2 /sprocket_production_actual: Expected int, got float."),
    ],
)
def test_a_wrong_row_is_refused_with_its_number(loader: Loader, name: str, content: str, complaint: str) -> None:
    """The refusal says which row and why; the right rows of the file are not stored either."""
    no_records: dict[str, object] = {"time": [], "sprocket_production_actual": [], "sprocket_production_goal": []}
    loader.load("factory.json", {"factories": a_seed(**no_records)["factories"]})

    done = loader.load(name, content)

    assert 1 == done.exit_code
    assert complaint in done.stderr
    assert [] == loader.get("/production")


@pytest.mark.parametrize(("allowed", "expected"), [((), []), (("--max-ahead-seconds", "200000"), [32])])
def test_a_record_lies_no_further_ahead_than_is_allowed(
    loader: Loader, allowed: tuple[str, ...], expected: list[int]
) -> None:
    """Two days ahead of this machine's clock is a slip, unless a setting says otherwise."""
    in_two_days = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    ahead = a_seed(sprocket_production_actual=[32], sprocket_production_goal=[32], time=[in_two_days])

    done = loader.load("ahead.json", ahead, *allowed)

    assert (not expected) == ("chart_data/time/0: The time" in done.stderr)
    assert expected == [record["sprocket_production_actual"] for record in loader.get("/production")]


def test_one_wrong_file_keeps_all_files_out(loader: Loader) -> None:
    """Several files in one call are stored together or not at all."""
    (loader.folder / "right.json").write_text(json.dumps(a_seed()))

    done = loader.load("wrong.json", {"sprockets": [a_sprocket(teeth=2)]}, "right.json")

    assert 1 == done.exit_code
    assert "/sprockets/0/teeth: Expected int >= 3." in done.stderr
    assert [] == loader.get("/sprockets")

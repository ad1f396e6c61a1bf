"""The README says of what was measured what the kept run says."""

from pathlib import Path

from benchmarks.summary import with_measured

README = Path(__file__).parent.parent.joinpath("README.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_kept_run() -> None:
    """It is made from the run: bin/docs."""
    assert with_measured(README) == README

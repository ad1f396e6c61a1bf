"""The settings: the documents that are made from them, and what may stand in them."""

from dataclasses import fields
from pathlib import Path

import pytest

from command_line import run_here
from sprocket_factory.settings import Settings, as_example, as_markdown, as_text

ROOT = Path(__file__).parent.parent

SECRET = ("secret", "password", "token", "credential", "passphrase")

NO_SECRETS = {"oidc_token_types"}
"""Named after a secret, and none."""


def test_the_document_of_settings_is_up_to_date() -> None:
    """`bin/docs` makes it."""
    assert as_markdown() == ROOT.joinpath("docs", "settings.md").read_text()


def test_the_example_of_an_environment_is_up_to_date() -> None:
    """`bin/docs` makes it."""
    assert as_example() == ROOT.joinpath(".env.example").read_text()


def test_the_example_may_be_used_as_it_is(tmp_path: Path) -> None:
    """Every line of it without its # is taken, and means the default."""
    lines = ROOT.joinpath(".env.example").read_text().splitlines()
    (tmp_path / ".env").write_text("\n".join(line.removeprefix("#") for line in lines if line.startswith("#SPROCKET")))
    refused = run_here("serve", "--port", "0", "--must-exist", folder=tmp_path)

    assert f"There is no database at {tmp_path / 'sprocket-factory.db'}." in refused.stderr


def test_no_secret_is_a_setting() -> None:
    """A setting shows in a list of processes or in a file that is copied on: of a secret it names the file."""
    secrets = {setting.name for setting in fields(Settings) if any(word in setting.name for word in SECRET)}

    assert set() == {name for name in secrets - NO_SECRETS if not name.endswith("_file")}


@pytest.mark.parametrize("period", ["off", "15m"])
def test_a_period_is_written_as_in_the_document(tmp_path: Path, period: str) -> None:
    """It is taken, and so is the word for none."""
    done = run_here("serve", "--port", "0", "--must-exist", "--backup-every", period, folder=tmp_path)

    assert "There is no database" in done.stderr


def test_what_is_no_period_is_refused(tmp_path: Path) -> None:
    """The refusal shows what may be written."""
    done = run_here("serve", "--port", "0", "--must-exist", "--backup-every", "hourly", folder=tmp_path)

    assert (2, True) == (done.returncode, "Write 90s, 15m, 1h or 1d." in done.stderr)


def test_a_default_is_written_as_it_is_read() -> None:
    """What is off is not 0 seconds."""
    assert ["off", "0", "8000"] == [as_text(name) for name in ("backup_every", "must_exist", "port")]

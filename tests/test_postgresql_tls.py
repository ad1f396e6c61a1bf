"""TLS on the way to PostgreSQL, as the address asks for it: a server that is certified is used, and no other one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result

from harness import Client, Service
from postgresql_server import PostgreSQLServer
from postgresql_tls import TlsFront
from sprocket_factory.commands import cli
from sprocket_factory.settings import Settings

NAME = "localhost"
"""What the server is certified as; it is not certified as 127.0.0.1."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return who says which server is which."""
    return trustme.CA()


@pytest.fixture
def front(postgresql: PostgreSQLServer, authority: trustme.CA) -> Iterator[TlsFront]:
    """Put TLS before a database in which nothing is stored yet."""
    with TlsFront(postgresql.new_database(), authority, NAME) as front:
        yield front


def as_file(authority: trustme.CA, folder: Path) -> Path:
    """Put an authority's certificate into a file, for who trusts it."""
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def migrate(url: str, mode: str, trusted: Path) -> Result:
    """Try to use a database."""
    return CliRunner().invoke(cli, ["migrate", "--database-url", f"{url}?sslmode={mode}&sslrootcert={trusted}"])


def test_a_server_that_is_who_it_says_is_used_over_tls(front: TlsFront, authority: trustme.CA, tmp_path: Path) -> None:
    """With sslmode=verify-full everything goes over TLS."""
    url = f"{front.url(NAME)}?sslmode=verify-full&sslrootcert={as_file(authority, tmp_path)}"
    with Service(Settings(database_url=url)) as service, Client(service.address) as viewer:
        answer = viewer.get("/sprockets")

    assert (200, []) == (answer.status_code, answer.json())
    assert ({"TLSv1.3"}, 0) == (front.versions, front.refused)


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
def test_a_server_that_somebody_else_certifies_is_refused(front: TlsFront, tmp_path: Path, mode: str) -> None:
    """Nobody can stand in between with a certificate of his own, and the sentence says what is wrong."""
    refused = migrate(front.url(NAME), mode, as_file(trustme.CA(), tmp_path))

    assert 1 == refused.exit_code
    assert "certificate verify failed" in refused.stderr
    assert (set(), 0) == (front.versions, front.refused)


def test_a_server_of_another_name_is_refused(front: TlsFront, authority: trustme.CA, tmp_path: Path) -> None:
    """With verify-full a certificate counts for the host that the address names, and for no other."""
    refused = migrate(front.url("127.0.0.1"), "verify-full", as_file(authority, tmp_path))

    assert 1 == refused.exit_code
    assert "certificate is not valid for '127.0.0.1'" in refused.stderr


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(
    postgresql: PostgreSQLServer, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes in the clear to a server that speaks no TLS."""
    monkeypatch.setattr("sprocket_factory.database.postgresql_opening.START_SECONDS", 0)
    refused = migrate(postgresql.new_database(), "verify-full", as_file(authority, tmp_path))

    assert 1 == refused.exit_code
    assert "rejected SSL upgrade" in refused.stderr


def test_an_authority_that_is_not_there_is_said(front: TlsFront, tmp_path: Path) -> None:
    """A slip in the path of the file is told as one."""
    missing = tmp_path / "missing.pem"
    refused = migrate(front.url(NAME), "verify-full", missing)

    assert 1 == refused.exit_code
    assert f"{missing} cannot be read. --database-url names it as sslrootcert." in refused.stderr

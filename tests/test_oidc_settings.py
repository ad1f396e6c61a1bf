"""How a service is told of an issuer, and what keeps it from starting with settings that cannot be meant."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from command_line import run_here
from harness import Client, Program, clean_environment
from own_issuer import OwnIssuer
from sprocket_factory.app import trusted_issuer
from sprocket_factory.errors import Unusable
from sprocket_factory.settings import Settings

ISSUER = ("--oidc-issuer", "https://login.example")
REST = ("--oidc-audience", "sprocket-factory", "--oidc-roles", "viewer=reader")

HIDING = """
import sys
sys.modules |= dict.fromkeys(sys.argv.pop(1).split(","))
from sprocket_factory.commands import main
main()
"""
"""Runs the program as if a package were not installed."""


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        ("oidc_audience", "", "--oidc-issuer needs --oidc-audience."),
        *(
            (
                "oidc_roles",
                f"viewer=a{bad}" if bad.startswith(",") else bad,
                f"--oidc-roles cannot be read at '{part}'.",
            )
            for bad, part in [
                ("", ""),
                ("reader", "reader"),
                ("viewer=", "viewer="),
                ("=reader", "=reader"),
                (",", ""),
                (", boss=b", "boss=b"),
                ("none=a", "none=a"),
                ("Viewer=a", "Viewer=a"),
            ]
        ),
        *(
            ("oidc_token_types", bad, f"--oidc-token-types cannot be '{bad}'.")
            for bad in ("", "id+jwt", "at+jwt,", "at+jwt JWT", "application/at+jwt", "*")
        ),
        *(
            ("oidc_issuer", bad, f"--oidc-issuer cannot be '{bad}'.")
            for bad in (
                "http://login.example",
                "login.example",
                "ftp://127.0.0.1",
                "http://127.0.0.1.login.example",
                "http://127.0.0.1@login.example",
                "https://",
                "https:///realms/1",
                "https://login.example/?tenant=1",
                "https://login.example/#1",
                "https://user:word@login.example",
                "https://[login.example",
            )
        ),
        ("oidc_issuer", "", "--oidc-audience and --oidc-roles say nothing without --oidc-issuer."),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(setting: str, value: str, complaint: str) -> None:
    """The sentence says which and what is wrong with it."""
    right = Settings(oidc_issuer="https://login.example", oidc_audience="sprocket-factory", oidc_roles="viewer=reader")
    changed: dict[str, Any] = {setting: value}

    with pytest.raises(Unusable, match=f"^{re.escape(complaint)}"):
        trusted_issuer(replace(right, **changed))


@pytest.mark.parametrize(
    "issuer", ["https://login.example/realms/1/", "http://localhost:8080", "http://[::1]:8080", "http://127.9.9.9"]
)
def test_an_issuer_is_https_or_on_this_machine(issuer: str) -> None:
    """What it is asked travels where nobody can change it."""
    assert trusted_issuer(Settings(oidc_issuer=issuer, oidc_audience="a", oidc_roles="viewer=b")) is not None


@pytest.mark.parametrize("more", [(), ("--workers", "2", "--database-url", "postgresql://nobody@127.0.0.1:1/nowhere")])
def test_settings_that_cannot_be_meant_keep_the_service_from_starting(tmp_path: Path, more: tuple[str, ...]) -> None:
    """With one process or several: it ends before it looks for a database, and makes none."""
    done = run_here("serve", *ISSUER, "--oidc-roles", "viewer=reader", *more, folder=tmp_path)

    assert 1 == done.returncode
    assert done.stderr.startswith("Error: --oidc-issuer needs --oidc-audience.")
    assert [] == list(tmp_path.iterdir())


def test_a_leeway_that_is_none_is_refused(tmp_path: Path) -> None:
    """More than five minutes is no difference of clocks."""
    done = run_here("serve", *ISSUER, *REST, "--oidc-leeway-seconds", "301", folder=tmp_path)

    assert 2 == done.returncode
    assert "--oidc-leeway-seconds" in done.stderr


@pytest.mark.parametrize("package", ["jwt", "cryptography", "httpx"])
def test_without_what_tokens_need_the_service_does_not_start(tmp_path: Path, package: str) -> None:
    """The packages are optional, and the sentence says how they are installed."""
    done = run_without(package, *ISSUER, *REST, folder=tmp_path)

    assert (1, "") == (done.returncode, done.stdout)
    assert "which is not installed. Install the service as sprocket-factory[oidc]." in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_without_an_issuer_none_of_it_is_needed(tmp_path: Path) -> None:
    """Whoever uses keys alone installs nothing more."""
    done = run_without("jwt", "cryptography", "httpx", "--must-exist", folder=tmp_path)

    assert 1 == done.returncode
    assert "sprocket-factory.db" in done.stderr
    assert "install" not in done.stderr


def test_the_program_takes_tokens_of_the_issuer_that_it_is_told_of(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    """By flags or a file, as any setting; a stranger is let in with a token, and without one he is not."""
    with OwnIssuer() as issuer:
        (tmp_path / ".env").write_text(f"SPROCKET_FACTORY_OIDC_ISSUER={issuer.url}\n")
        address = start("serve", "--port", "0", "--anonymous-role", "none", *REST).wait_for_address()
        with Client(address) as stranger:
            answers = [
                stranger.get("/me", headers={"Authorization": f"Bearer {token}"} if token else {})
                for token in ("", issuer.token(sub="alice"), issuer.token(aud="other"))
            ]

    assert [401, 200, 401] == [answer.status_code for answer in answers]
    assert {"name": "alice", "role": "viewer"}.items() <= answers[1].json().items()


def run_without(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run `serve` as if packages were not installed: those before the first flag."""
    hidden = list(takewhile(lambda argument: not argument.startswith("-"), arguments))
    return subprocess.run(
        [sys.executable, "-c", HIDING, ",".join(hidden), "serve", "--port", "0", *arguments[len(hidden) :]],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

"""Find out who calls: what a key costs on SQLite, and what an access token costs, seen before or not.

It is measured where it happens, in the event loop, without the request around it. Of each the round that cost least is
reported: noise only ever adds. Exits with 1 if the target is missed.
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

import jwt
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from rich.table import Table

from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict
from sprocket_factory.access.callers import Callers
from sprocket_factory.app import trusted_issuer
from sprocket_factory.database import open_database
from sprocket_factory.entities.key import NewKey, add_key
from sprocket_factory.errors import Refusal
from sprocket_factory.observe import security_log
from sprocket_factory.settings import Settings

# As many microseconds it may take to find out who calls, by a key or by a token that was seen before.
TARGET = 15.0
FIRST = 200
AGAIN = 5000
VIEWER: Final = "viewer"
REFUSED = "refused"

KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "PS256": rsa.generate_private_key(65537, 2048),
    "RS512": rsa.generate_private_key(65537, 4096),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


class Case(NamedTuple):
    """What is measured, the credentials that it is measured with, one after the other, and what is found out of each.

    That is the role of whoever calls, or that it is nobody.
    """

    name: str
    credentials: Sequence[str]
    found: str = VIEWER


@contextmanager
def run_issuer() -> Iterator[str]:
    """Run an issuer that publishes the keys, and give its address."""
    published = [
        jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True) | {"kid": name, "alg": name}
        for name, key in KEYS.items()
    ]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = f"http://127.0.0.1:{server.server_port}"
            document = (
                {"keys": published} if self.path == "/keys" else {"issuer": address, "jwks_uri": f"{address}/keys"}
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that is overridden
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def make_token(issuer: str, algorithm: str, number: int, signed_by: str = "") -> str:
    """Return an access token like those that issuers give out; signed by another key if one is named."""
    now = int(time.time())
    claims = {"iss": issuer, "aud": "sprocket-factory", "iat": now, "exp": now + 3600, "roles": ["floor"]}
    claims |= {"sub": f"press-{number}", "client_id": f"press-{number}", "jti": f"{number:032}", "scope": "production"}
    header = {"typ": "at+jwt", "kid": algorithm}
    return jwt.encode(claims, KEYS[signed_by or algorithm], algorithm, header)


async def measure(callers: Callers, case: Case) -> float:
    """Return how many microseconds it takes to find out whose credentials these are, or that they are nobody's.

    Raises RuntimeError if something else is found out of any: to refuse what should be known is quick.
    """
    scopes: list[Any] = [
        {
            "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {each}".encode())],
            "client": ("127.0.0.1", 1),
        }
        for each in case.credentials
    ]
    found: Counter[str | None] = Counter()
    started_at = time.perf_counter()
    for scope in scopes:
        try:
            caller = await callers.identify(scope)
        except Refusal:
            found[REFUSED] += 1
        else:
            found[caller.role] += 1
    seconds = time.perf_counter() - started_at
    if found != {case.found: len(scopes)}:
        raise RuntimeError(f"{case.name}: {dict(found)}, where all of {len(scopes)} should be {case.found}.")
    return seconds / len(scopes) * 1e6


async def measure_all(folder: Path, issuer: str, rounds: int) -> dict[str, float]:
    """Return the best round of each case, in microseconds."""
    settings = Settings(oidc_issuer=issuer, oidc_audience="sprocket-factory", oidc_roles="viewer=floor")
    database = await open_database(f"sqlite:///{folder / 'factory.db'}")
    key = await database.write(add_key, NewKey(name="press 1", role=VIEWER), by="benchmark")
    tokens = {name: [make_token(issuer, name, number) for number in range(FIRST)] for name in KEYS}
    cases = [
        Case("a key on SQLite", [key.secret] * AGAIN),
        Case("a token that was seen before", [tokens["RS256"][0]] * AGAIN),
        *(Case(f"a token that was not, {name}", tokens[name]) for name in KEYS),
        Case("a forged token, RS256", [make_token(issuer, "RS256", 0, signed_by="PS256")] * FIRST, REFUSED),
        Case("what is no token", ["a.b.c"] * AGAIN, REFUSED),
        Case("what is no key", ["sfk_wrong"] * AGAIN, REFUSED),
    ]
    best: dict[str, float] = {}
    for _ in range(rounds):
        callers = Callers(database, None, trusted_issuer(settings))  # it has seen no token yet
        await measure(callers, Case("to warm up", [make_token(issuer, "RS256", FIRST), tokens["RS256"][0]]))
        for case in cases:
            best[case.name] = min(best.get(case.name, float("inf")), await measure(callers, case))
    await database.close()
    return best


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("Find out who calls: microseconds for keys and access tokens.")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    security_log.set_level("error")  # a wrong key is a line in the log, which is no part of this
    with make_folder(options.folder) as folder, run_issuer() as issuer:
        print_heading("find out who calls", folder)
        best = uvloop.run(measure_all(folder, issuer, options.rounds))
    table = Table("", "µs")
    for name, taken in best.items():
        table.add_row(name, f"{taken:.1f}")
    console.print(table)
    worst = max(best["a key on SQLite"], best["a token that was seen before"])
    return print_verdict(f"{worst:.1f} µs, at most {TARGET:.0f}", holds=worst <= TARGET)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Callers who post without a pause while their server's database is lost, and know what they were promised."""

import threading
import time
from collections.abc import Iterable

import httpx

from harness import BASE_PATH, TLS, a_sprocket

REFUSALS = {(503, f"/problems/{slug}", True) for slug in ("unavailable", "busy", "outcome-unknown")}
"""What may be answered meanwhile: the status, the kind, and that it says when to come back."""

CALLERS = 4

ENOUGH = 5
"""So many more successes of each show that all are in the midst of writing."""

PATIENCE_SECONDS = 20


class Poster(threading.Thread):
    """Posts sprockets one after the other until it is told to stop; it knows what was acknowledged."""

    def __init__(self, address: str, number: int) -> None:
        super().__init__()
        self.acknowledged: list[int] = []
        self.refusals: set[tuple[int, str, bool]] = set()
        self.longest_refusal = 0.0
        """The most seconds that one took, from here."""
        self.last_success = 0.0
        self._address = address
        self._number = number
        self._stopping = threading.Event()

    def run(self) -> None:
        """Post. Each sprocket carries a key, so that one whose outcome is unknown can be sent again."""
        with httpx.Client(base_url=self._address + BASE_PATH, timeout=30, trust_env=False, verify=TLS) as client:
            key = 0
            while not self._stopping.is_set():
                begun = time.monotonic()
                answer = client.post(
                    "/sprockets", json=a_sprocket(), headers={"Idempotency-Key": f"{self._number}-{key}"}
                )
                if answer.status_code == 201:
                    self.acknowledged.append(answer.json()["id"])
                    self.last_success = time.monotonic()
                    key += 1
                else:
                    self.longest_refusal = max(self.longest_refusal, time.monotonic() - begun)
                    self.refusals.add((answer.status_code, answer.json()["type"], "Retry-After" in answer.headers))
                    time.sleep(0.02)

    def stop(self) -> None:
        """Let it end."""
        self._stopping.set()
        self.join()


def start_posters(address: str, first: int = 0) -> list[Poster]:
    """Let some post from now on, numbered from this one on."""
    posters = [Poster(address, first + number) for number in range(CALLERS)]
    for poster in posters:
        poster.start()
    return posters


def wait_for_more(posters: Iterable[Poster]) -> None:
    """Wait until each of them has succeeded ENOUGH more times."""
    goals = {poster: len(poster.acknowledged) + ENOUGH for poster in posters}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while late := [poster for poster, goal in goals.items() if len(poster.acknowledged) < goal]:
        assert time.monotonic() < deadline, f"{len(late)} of {len(goals)} do not get through"
        time.sleep(0.005)

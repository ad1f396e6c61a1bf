"""Callers who post without a pause while their server's database is lost, and know what they were promised."""

import threading
import time

import httpx

from harness import BASE_PATH, TLS, a_sprocket

REFUSALS = {(503, f"/problems/{slug}", True) for slug in ("unavailable", "busy", "outcome-unknown")}
"""What may be answered meanwhile: the status, the kind, and that it says when to come back."""

CALLERS = 4


class Poster(threading.Thread):
    """Posts sprockets one after the other until it is told to stop; it knows what was acknowledged."""

    def __init__(self, address: str, number: int) -> None:
        super().__init__()
        self.acknowledged: list[int] = []
        self.refusals: set[tuple[int, str, bool]] = set()
        self.last_success = 0.0
        self._address = address
        self._number = number
        self._stopping = threading.Event()

    def run(self) -> None:
        """Post. Each sprocket carries a key, so that one whose outcome is unknown can be sent again."""
        with httpx.Client(base_url=self._address + BASE_PATH, timeout=30, trust_env=False, verify=TLS) as client:
            key = 0
            while not self._stopping.is_set():
                answer = client.post(
                    "/sprockets", json=a_sprocket(), headers={"Idempotency-Key": f"{self._number}-{key}"}
                )
                if answer.status_code == 201:
                    self.acknowledged.append(answer.json()["id"])
                    self.last_success = time.monotonic()
                    key += 1
                else:
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

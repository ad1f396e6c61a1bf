"""A Prometheus of the tests' own: it scrapes a running service, keeps what it found, and looks at rules."""

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec

from harness import TLS
from promql import PromQL, Scrape, Vector, labels_of, read_metrics, seconds_of

DEPLOY = Path(__file__).parent.parent / "deploy"

MINUTE = 60.0

TARGET = {"job": "sprocket-factory", "instance": "127.0.0.1:9464"}


class Rule(NamedTuple):
    """One alert rule."""

    alert: str
    expression: str
    seconds: float
    """For how long it has to be so."""


def read_rules() -> dict[str, Rule]:
    """Return the alert rules that are shipped, by their names."""
    groups = msgspec.yaml.decode((DEPLOY / "prometheus" / "alerts.yaml").read_bytes())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return {
        rule["alert"]: Rule(rule["alert"], rule["expr"], seconds_of(rule["for"]) if "for" in rule else 0.0)
        for rule in rules
    }


RULES = read_rules()


def minutes_for(alerts: set[str]) -> int:
    """Return after how many minutes the slowest of these rules fires; of no rules, whether any of all does.

    What grows is seen to grow from the second time on.
    """
    return 3 + int(max(RULES[alert].seconds for alert in alerts or RULES) / MINUTE)


class History:
    """What was scraped from one service, once for each minute that is said to have passed."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._began = time.time()
        self.scrapes: list[Scrape] = []

    def scrape(self) -> None:
        """Read the metrics, as Prometheus does a minute after it did last."""
        try:
            answer = httpx.get(f"{self._address}/metrics", trust_env=False, verify=TLS, timeout=20)
            values: Vector = read_metrics(answer.raise_for_status().text, **TARGET)
            is_up = 1.0
        except httpx.TransportError:
            values, is_up = {}, 0.0
        values[labels_of({"__name__": "up", **TARGET})] = is_up
        self.scrapes.append(Scrape(self._began + len(self.scrapes) * MINUTE, values))

    def query(self, expression: str) -> Vector:
        """Return what an expression gives now."""
        found = PromQL(self.scrapes).query(expression, self.scrapes[-1].at)
        assert isinstance(found, dict)
        return found

    def firing(self) -> set[str]:
        """Return the alerts that fire now: which have been so for as long as they have to."""
        promql, now = PromQL(self.scrapes), self.scrapes[-1].at
        times = [scrape.at for scrape in self.scrapes]
        return {
            rule.alert
            for rule in RULES.values()
            if times[0] <= now - rule.seconds
            and all(promql.query(rule.expression, at) for at in times if at >= now - rule.seconds)
        }

    def confirmed(self, folder: Path) -> set[str]:
        """Return the same as Prometheus itself finds it, where its promtool is installed."""
        promtool = shutil.which("promtool")
        if promtool is None:
            return self.firing()
        names = sorted({labels for scrape in self.scrapes for labels in scrape.values})
        now = f"{(len(self.scrapes) - 1) * int(MINUTE)}s"
        # It compares with what is expected. Expecting nothing, it tells what there is by complaining.
        test = {
            "rule_files": [str(DEPLOY / "prometheus" / "alerts.yaml")],
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [{"series": _series(labels), "values": self._values(labels)} for labels in names],
                    "alert_rule_test": [{"eval_time": now, "alertname": alert, "exp_alerts": []} for alert in RULES],
                }
            ],
        }
        file = folder / "alerts.test.yaml"
        file.write_bytes(msgspec.json.encode(test))  # JSON is YAML
        done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
        return set(re.findall(r"alertname: (\w+), time", done.stdout + done.stderr))

    def _values(self, labels: Any) -> str:
        name = dict(labels)["__name__"]
        # To the tool the world begins in 1970.
        shift = self._began if name.endswith("_timestamp_seconds") else 0.0
        values = [scrape.values.get(labels) for scrape in self.scrapes]
        return " ".join("_" if value is None else repr(value - shift) for value in values)


def _series(labels: Any) -> str:
    given = dict(labels)
    name = given.pop("__name__")
    inside = ",".join(f'{label}="{value}"' for label, value in given.items())
    return f"{name}{{{inside}}}"

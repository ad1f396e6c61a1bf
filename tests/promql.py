"""PromQL as far as the alert rules and the dashboard go, over metrics that were scraped from a running service.

It reads with the grammar of Prometheus (promql-parser) and counts as Prometheus does, extrapolation included; where
promtool is installed, test_alerts.py asks that as well.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from operator import add, eq, ge, gt, le, lt, mul, ne, sub, truediv
from typing import Any, NamedTuple

import promql_parser as ast
from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]
"""Sorted; the name of the metric is `__name__`, which comes first."""

Vector = dict[Labels, float]
Samples = list[tuple[float, float]]

ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {"+": add, "-": sub, "*": mul, "/": truediv}
COMPARISON: Mapping[str, Callable[[float, float], bool]] = {"==": eq, "!=": ne, ">": gt, "<": lt, ">=": ge, "<=": le}
AGGREGATION: Mapping[str, Callable[[Sequence[float]], float]] = {"sum": sum, "max": max, "min": min, "count": len}


class Scrape(NamedTuple):
    """What was read at one time."""

    at: float
    values: Vector


def read_metrics(text: str, **target: str) -> Vector:
    """Return every sample of a text of metrics, with the labels that Prometheus gives to all of a target."""
    return {
        labels_of({**sample.labels, **target, "__name__": sample.name}): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels_of(labels: Mapping[str, str]) -> Labels:
    """Return labels as they are compared."""
    return tuple(sorted(labels.items()))


def metrics_in(expression: str) -> set[str]:
    """Return the names of the metrics that an expression reads."""
    found: set[str] = set()

    def note(node: object) -> None:
        if isinstance(node, ast.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, ast.VectorSelector):
            found.add(str(node.name))

    ast.walk(ast.parse(expression), note)
    return found


class PromQL:
    """Answers expressions over scrapes, in the order of their times."""

    def __init__(self, scrapes: Sequence[Scrape]) -> None:
        self._scrapes: list[tuple[float, dict[str, Vector]]] = []
        for at, values in scrapes:
            by_name: dict[str, Vector] = {}
            for labels, value in values.items():
                by_name.setdefault(labels[0][1], {})[labels] = value
            self._scrapes.append((at, by_name))

    def query(self, expression: str, at: float) -> Vector | float:
        """Return what an expression gives at a time."""
        return self._value(ast.parse(expression), at)

    def _value(self, node: Any, at: float) -> Vector | float:  # noqa: PLR0911 - one for each kind of node
        match node:
            case ast.NumberLiteral():
                return float(node.val)
            case ast.ParenExpr():
                return self._value(node.expr, at)
            case ast.VectorSelector():
                return self._select(node, at)
            case ast.AggregateExpr():
                return self._aggregate(node, at)
            case ast.BinaryExpr():
                left, right = self._value(node.lhs, at), self._value(node.rhs, at)
                if node.modifier is not None and node.modifier.matching is not None:
                    return _join(str(node.op), left, right, node.modifier)
                return _combine(str(node.op), left, right)
            case ast.Call():
                return self._call(node, at)
        raise NotImplementedError(type(node))

    def _select(self, node: Any, at: float) -> Vector:
        seen = [by_name for when, by_name in self._scrapes if when <= at]
        if not seen:
            return {}
        return {labels: value for labels, value in seen[-1].get(node.name, {}).items() if _matches(node, labels)}

    def _samples(self, node: Any, at: float) -> dict[Labels, Samples]:
        began = at - node.range.total_seconds()
        samples: dict[Labels, Samples] = {}
        for when, by_name in self._scrapes:
            if began <= when <= at:
                for labels, value in by_name.get(node.vector_selector.name, {}).items():
                    if _matches(node.vector_selector, labels):
                        samples.setdefault(labels, []).append((when, value))
        return samples

    def _aggregate(self, node: Any, at: float) -> Vector:
        groups: dict[Labels, list[float]] = {}
        vector = self._value(node.expr, at)
        assert isinstance(vector, dict)
        by = set(node.modifier.labels) if node.modifier else set()
        for labels, value in vector.items():
            groups.setdefault(tuple(label for label in labels if label[0] in by), []).append(value)
        return {labels: float(AGGREGATION[str(node.op)](values)) for labels, values in groups.items()}

    def _call(self, node: Any, at: float) -> Vector | float:
        name, arguments = node.func.name, list(node.args)
        if name == "time":
            return at
        if name == "histogram_quantile":
            quantile, vector = (self._value(argument, at) for argument in arguments)
            assert isinstance(quantile, float)
            assert isinstance(vector, dict)
            return _histogram_quantile(quantile, vector)
        series = self._samples(arguments[0], at)
        found = {}
        for labels, samples in series.items():
            seconds = arguments[0].range.total_seconds()
            if name in {"rate", "increase"}:
                value = _increase(samples, at - seconds, at)
                value = value / seconds if value is not None and name == "rate" else value
            elif name == "predict_linear":
                value = _predict(samples, at, self._value(arguments[1], at))
            else:
                raise NotImplementedError(name)
            if value is not None:
                found[_nameless(labels)] = value
        return found


def _matches(node: Any, labels: Labels) -> bool:
    given = dict(labels)
    for matcher in node.matchers.matchers:
        value = given.get(matcher.name, "")
        is_regex = matcher.op in (ast.MatchOp.Re, ast.MatchOp.NotRe)
        is_equal = bool(re.fullmatch(matcher.value, value)) if is_regex else matcher.value == value
        if is_equal != (matcher.op in (ast.MatchOp.Equal, ast.MatchOp.Re)):
            return False
    return True


def _nameless(labels: Labels) -> Labels:
    return tuple(label for label in labels if label[0] != "__name__")


def _combine(op: str, left: Vector | float, right: Vector | float) -> Vector | float:
    if isinstance(left, float) and isinstance(right, float):
        return ARITHMETIC[op](left, right)
    if op in COMPARISON:
        pairs = _pairs(left, right)
        kept = {labels for labels, (one, other) in pairs.items() if COMPARISON[op](one, other)}
        vector = left if isinstance(left, dict) else right
        assert isinstance(vector, dict)
        return {labels: value for labels, value in vector.items() if _nameless(labels) in kept}
    return {labels: _calculate(op, one, other) for labels, (one, other) in _pairs(left, right).items()}


def _pairs(left: Vector | float, right: Vector | float) -> dict[Labels, tuple[float, float]]:
    """Return what belongs together: what has the same labels, the name left out."""
    if isinstance(left, float):
        assert isinstance(right, dict)
        return {_nameless(labels): (left, value) for labels, value in right.items()}
    if isinstance(right, float):
        return {_nameless(labels): (value, right) for labels, value in left.items()}
    others = {_nameless(labels): value for labels, value in right.items()}
    return {
        _nameless(labels): (value, others[_nameless(labels)])
        for labels, value in left.items()
        if _nameless(labels) in others
    }


def _join(op: str, left: Vector | float, right: Vector | float, modifier: Any) -> Vector:
    """Return many on the left with the one on the right that has the same labels of these, and labels of that one's."""
    assert isinstance(left, dict)
    assert isinstance(right, dict)
    on, taken = set(modifier.matching.labels), set(modifier.group_labels)
    others = {
        frozenset(label for label in labels if label[0] in on): (labels, value) for labels, value in right.items()
    }
    joined = {}
    for labels, value in left.items():
        match = others.get(frozenset(label for label in labels if label[0] in on))
        if match is not None:
            more = {name: text for name, text in match[0] if name in taken}
            joined[labels_of(dict(_nameless(labels)) | more)] = _calculate(op, value, match[1])
    return joined


def _calculate(op: str, one: float, other: float) -> float:
    if op == "/" and not other:
        return math.nan if not one else math.copysign(math.inf, one)
    return ARITHMETIC[op](one, other)


def _increase(samples: Samples, began: float, ended: float) -> float | None:
    """Return by how much a counter grew, extrapolated to the whole range as Prometheus does."""
    if len(samples) < 2:
        return None
    (first_at, first), (last_at, last) = samples[0], samples[-1]
    grown = last - first + sum(one for (_, one), (_, other) in pairwise(samples) if other < one)
    seconds = last_at - first_at
    step = seconds / (len(samples) - 1)
    before, after = first_at - began, ended - last_at
    before = step / 2 if before >= step * 1.1 else before
    if grown > 0 and first >= 0:
        before = min(before, seconds * first / grown)
    after = step / 2 if after >= step * 1.1 else after
    return grown * (seconds + before + after) / seconds


def _predict(samples: Samples, at: float, ahead: Vector | float) -> float | None:
    """Return where the straight line through the samples will be so many seconds later."""
    if len(samples) < 2:
        return None
    assert isinstance(ahead, float)
    times, values = [when - at for when, _ in samples], [value for _, value in samples]
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((when - middle) ** 2 for when in times)
    slope = sum((when - middle) * (value - mean) for when, value in zip(times, values, strict=True)) / spread
    return mean + slope * (ahead - middle)


def _histogram_quantile(quantile: float, vector: Vector) -> Vector:
    histograms: dict[Labels, list[tuple[float, float]]] = {}
    for labels, value in vector.items():
        bound = float(dict(labels)["le"].replace("+Inf", "inf"))
        rest = tuple(label for label in labels if label[0] not in {"le", "__name__"})
        histograms.setdefault(rest, []).append((bound, value))
    return {labels: _quantile(quantile, sorted(buckets)) for labels, buckets in histograms.items()}


def _quantile(quantile: float, buckets: list[tuple[float, float]]) -> float:
    total = buckets[-1][1]
    if not total:
        return math.nan
    rank = quantile * total
    place = next(place for place, (_, count) in enumerate(buckets) if count >= rank)
    bound, count = buckets[place]
    if math.isinf(bound):
        return buckets[-2][0]
    below, fewer = buckets[place - 1] if place else (0.0, 0.0)
    return below + (bound - below) * (rank - fewer) / (count - fewer)


def seconds_of(duration: str) -> float:
    """Return how many seconds a duration of Prometheus is, as `30m`."""
    parsed = ast.parse_duration(duration) if duration else timedelta()
    return float(parsed.total_seconds())

"""A histogram that costs a request little: prometheus_client's takes two locks for each value.

Each series is fed by one thread: the event loop, or the one that writes. Whoever asks for the metrics meanwhile may see
a value counted that is not yet added up.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily


class Series:
    """The values under one combination of labels."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value, at least 0, in the first bucket whose bound it does not exceed."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histogram:
    """Counts values by size, for each combination of labels: a collector for a registry."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self.label_names = tuple(labels)
        self._bounds = buckets
        self._series: dict[tuple[str, ...], Series] = {}
        if not labels:
            self.labels()
        registry.register(self)

    def labels(self, *values: str) -> Series:
        """Return the series under these values of the labels, in their order."""
        series = self._series.get(values)
        return self._series.setdefault(values, Series(self._bounds)) if series is None else series

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Give all that was counted until now."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self.label_names)
        for values, series in list(self._series.items()):
            family.add_metric(values, list(self._buckets_of(series)), series.total)
        yield family

    describe = collect
    """What the registry knows its names by."""

    def _buckets_of(self, series: Series) -> Iterator[tuple[str, float]]:
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        yield from zip(names, accumulate(series.counts), strict=True)

"""What a file brings: factories with their columns of production, sprocket types, records; stored in one write."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any, NamedTuple, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import replace

from sprocket_factory.database import Transaction
from sprocket_factory.entities.factory import (
    FactoryChanges,
    change_factory,
    check_factory_name,
    check_time_zone,
    ensure_factory,
)
from sprocket_factory.entities.instant import read_instant
from sprocket_factory.entities.production import Count
from sprocket_factory.entities.production_import import Merged, OnConflict, Spool, merge_production
from sprocket_factory.entities.sprocket import NewSprocket, add_missing_sprockets, add_sprocket
from sprocket_factory.errors import Conflict, Fault, Invalid

T = TypeVar("T")


class ChartData(Struct, frozen=True, forbid_unknown_fields=True):
    """Columns of equal length: what was made, what was to be made, and when."""

    sprocket_production_actual: list[Count]
    sprocket_production_goal: list[Count]
    time: list[str | int | float]


class SeedFactory(Struct, frozen=True, forbid_unknown_fields=True):
    """A factory by its name, with its production; and its time zone, where the file knows it."""

    name: Annotated[str, Meta(min_length=1)]
    chart_data: ChartData
    time_zone: str | None = None


class SeedEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """The wrapping around a factory."""

    factory: SeedFactory


class SeedFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The two kinds of JSON file that a factory of this kind starts from."""

    factories: list[SeedEntry] = []
    sprockets: list[NewSprocket] = []


class NamedFactory(NamedTuple):
    """A factory that a file names, without its production."""

    name: str
    time_zone: str | None
    """None where the file does not say."""


class Seed(AbstractContextManager["Seed"]):
    """Everything one file brings, checked and ready to store. Leaving it as a context lets go of its spool."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.factories: list[NamedFactory] = []
        self.sprockets: list[NewSprocket] = []
        self.spool = Spool()

    def __exit__(self, *error: object) -> None:
        self.spool.close()

    def take(self, file: SeedFile, latest: int) -> None:
        """Check what a JSON file says, up to the latest instant allowed, and keep it. Raises Invalid."""
        self.sprockets.extend(file.sprockets)
        for number, entry in enumerate(file.factories):
            try:
                self._take_factory(entry.factory, latest)
            except Invalid as refusal:
                faults = [
                    fault._replace(pointer=f"/factories/{number}/factory{fault.pointer}") for fault in refusal.faults
                ]
                raise Invalid("A factory in the file is not right.", faults=faults) from refusal

    def _take_factory(self, factory: SeedFactory, latest: int) -> None:
        _at("/name", check_factory_name, factory.name)
        if factory.time_zone is not None:
            _at("/time_zone", check_time_zone, factory.time_zone)
        self.factories.append(NamedFactory(factory.name, factory.time_zone))
        columns = factory.chart_data
        lengths = {len(columns.time), len(columns.sprocket_production_actual), len(columns.sprocket_production_goal)}
        if len(lengths) > 1:
            detail = (
                f"The columns are of unequal length: {len(columns.sprocket_production_actual)} actual,"
                f" {len(columns.sprocket_production_goal)} goal, {len(columns.time)} time."
            )
            raise Invalid(detail, faults=[Fault("/chart_data", detail)])
        rows = zip(columns.time, columns.sprocket_production_actual, columns.sprocket_production_goal, strict=True)
        for place, (time, actual, goal) in enumerate(rows):
            instant = _at(f"/chart_data/time/{place}", read_instant, time, latest)
            self.spool.add(-len(self.factories), instant, actual, goal)


class Report(Struct, kw_only=True):
    """What became of each thing, by entity."""

    factories: Merged
    sprockets: Merged
    production: Merged
    factory_ids: dict[str, int]
    """The id of each factory that the files name."""


NOTHING = Merged(records=0, created=0, replaced=0, unchanged=0, skipped=0)


async def store_seeds(
    tx: Transaction,
    seeds: Sequence[Seed],
    on_conflict: OnConflict,
    allow_duplicates: bool,  # noqa: FBT001 - write functions take their arguments by place
) -> Report:
    """Store everything the files bring, all or none, in their order.

    Factories are known by name, production by factory and time. A factory is made in its time zone, or in UTC where
    its file names none; where it is there already, naming none leaves it as it is. Sprocket types have no identity in
    a file: each is stored as often as the file names it and no more, unless duplicates are allowed.

    Raises:
        Invalid: A record names a factory that does not exist.
        Conflict: A record or a time zone says otherwise than what is stored, under `error`.
    """
    report = Report(factories=NOTHING, sprockets=NOTHING, production=NOTHING, factory_ids={})
    new_names: set[str] = set()
    for seed in seeds:
        ids = {}
        try:
            for number, wanted in enumerate(seed.factories, 1):
                ids[-number], merged = await _store_factory(tx, wanted, on_conflict, new_names)
                report.factory_ids[wanted.name] = ids[-number]
                report.factories = _plus(report.factories, merged)
            stored = await _store_sprockets(tx, seed.sprockets, allow_duplicates=allow_duplicates)
            report.sprockets = _plus(report.sprockets, stored)
            merged = await merge_production(tx, seed.spool, on_conflict, ids)
        except (Invalid, Conflict) as refusal:
            refusal.detail = f"{seed.name}: {refusal.detail}"
            raise
        report.production = _plus(report.production, merged)
    return report


async def _store_factory(
    tx: Transaction, wanted: NamedFactory, on_conflict: OnConflict, new_names: set[str]
) -> tuple[int, Merged]:
    """Return the id of the factory, and what became of it; add its name to those that are new if it is.

    Raises:
        Conflict: It is in another time zone, under `error`.
    """
    stored, is_new = await ensure_factory(tx, wanted.name, wanted.time_zone or "UTC")
    if is_new:
        new_names.add(stored.name)
    if is_new or wanted.time_zone in {None, stored.time_zone}:
        return stored.id, _counted(int(is_new), int(not is_new))
    if on_conflict == "error":
        # A factory that this load has made is gone with the refusal: then the files disagree, and nothing is stored.
        so_far = "was named before, in the time zone" if stored.name in new_names else "is in the time zone"
        raise Conflict(
            f"{stored.name} {so_far} {stored.time_zone}, and the file says {wanted.time_zone}.",
            hint="Choose replace or skip as what to do on a conflict, or mend the file.",
        )
    if on_conflict == "skip":
        return stored.id, replace(NOTHING, records=1, skipped=1)
    await change_factory(tx, stored.id, FactoryChanges(time_zone=wanted.time_zone))
    return stored.id, replace(NOTHING, records=1, replaced=1)


async def _store_sprockets(tx: Transaction, sprockets: list[NewSprocket], *, allow_duplicates: bool) -> Merged:
    if not allow_duplicates:
        return _counted(*await add_missing_sprockets(tx, sprockets))
    for new in sprockets:
        await add_sprocket(tx, new)
    return _counted(len(sprockets), 0)


def _counted(created: int, unchanged: int) -> Merged:
    return Merged(records=created + unchanged, created=created, replaced=0, unchanged=unchanged, skipped=0)


def _plus(one: Merged, other: Merged) -> Merged:
    return Merged(**{name: getattr(one, name) + getattr(other, name) for name in Merged.__struct_fields__})


def _at(pointer: str, check: Callable[..., T], *args: Any) -> T:
    """Return what the check returns, and say where it was when it refuses."""
    try:
        return check(*args)
    except Invalid as refusal:
        raise Invalid(refusal.detail, hint=refusal.hint, faults=[Fault(pointer, str(refusal))]) from refusal

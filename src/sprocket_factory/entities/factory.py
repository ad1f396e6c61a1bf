"""Factories: where sprockets are made."""

from functools import cache
from importlib.resources import files
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from sprocket_factory.database import Reader, Transaction
from sprocket_factory.entities import Id
from sprocket_factory.entities.attainment_rollup import rebuild
from sprocket_factory.entities.change import Action, Entry, enter
from sprocket_factory.entities.listing import Listing
from sprocket_factory.entities.members import members_of
from sprocket_factory.entities.name import Name, check_name
from sprocket_factory.entities.version import ANYTHING, Expected, check_expected
from sprocket_factory.errors import Conflict, Fault, Invalid, NotFound, nearest, shown

TimeZone = Annotated[
    str,
    Meta(description="The IANA name of a time zone, as Europe/London.", extra_json_schema={"format": "time-zone"}),
]


class NewFactory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A factory as it is made known."""

    name: Name
    time_zone: TimeZone = "UTC"


class WholeFactory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a factory but its id."""

    name: Name
    time_zone: TimeZone


class FactoryChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different about a factory; what is left out stays."""

    name: Name | UnsetType = UNSET
    time_zone: TimeZone | UnsetType = UNSET


class Factory(Struct, frozen=True, gc=False):
    """A place where sprockets are made."""

    id: Id
    name: Name
    time_zone: TimeZone


FACTORIES = Listing(
    "factories",
    {"id": "integer", "name": "text", "time_zone": "text"},
    key=("id",),
    make=Factory,
    folded={"name": "name_folded"},
)

_FIND = "SELECT id, name, time_zone FROM factories WHERE id = :id"


@cache
def known_time_zones() -> frozenset[str]:
    """Return the names of all time zones of the pinned tzdata, which are the same on every machine."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def check_factory_name(name: str) -> str:
    """Return the name if it may be a factory's. Raises Invalid."""
    return check_name(name, "A factory's name")


def check_time_zone(name: str) -> str:
    """Return the name if a time zone has it. Raises Invalid."""
    if name not in known_time_zones():
        raise Invalid(f"There is no time zone {shown(name)}.{nearest(name, known_time_zones())}")
    return name


async def find_factory(db: Reader, factory_id: int) -> Factory:
    """Return the factory with this id. Raises NotFound."""
    row = await db.one(_FIND, id=factory_id)
    if row is None:
        raise no_factory(factory_id)
    return Factory(*row)


async def add_factory(tx: Transaction, new: NewFactory) -> Factory:
    """Make a factory known and return it with its id.

    Raises:
        Invalid: Its name or its time zone is none.
        Conflict: Another factory has this name.
    """
    _check(new)
    await _check_unique(tx, new.name, 0)
    row = await tx.first(
        "INSERT INTO factories (name, name_folded, time_zone) VALUES (:name, :folded, :time_zone)"
        " RETURNING id, name, time_zone",
        name=new.name,
        folded=new.name.casefold(),
        time_zone=new.time_zone,
    )
    factory = Factory(*row)
    await enter(tx, Entry("create", "factory", str(factory.id), after=factory))
    return factory


async def change_factory(
    tx: Transaction, factory_id: int, changes: WholeFactory | FactoryChanges, expected: Expected = ANYTHING
) -> Factory:
    """Change all or some of what is stored of a factory; where nothing would be different, write nothing.

    Raises:
        NotFound: There is no such factory.
        Stale: It is not what was expected.
        Invalid, Conflict: As add_factory.
    """
    _check(changes)
    before = await _expect(tx, factory_id, expected)
    after = replace(before, **members_of(changes))
    if after == before:
        return before
    await _check_unique(tx, after.name, factory_id)
    await tx.run(
        "UPDATE factories SET name = :name, name_folded = :folded, time_zone = :time_zone WHERE id = :id",
        id=factory_id,
        name=after.name,
        folded=after.name.casefold(),
        time_zone=after.time_zone,
    )
    if after.time_zone != before.time_zone:
        await rebuild(tx, factory_id, after.time_zone)
    action: Action = "replace" if isinstance(changes, WholeFactory) else "update"
    await enter(tx, Entry(action, "factory", str(factory_id), before, after))
    return after


async def remove_factory(tx: Transaction, factory_id: int, expected: Expected = ANYTHING) -> None:
    """Forget a factory. Raises NotFound or Stale, and Conflict where it has production: nothing of that is lost."""
    stored = await _expect(tx, factory_id, expected)
    if await tx.one("SELECT 1 FROM production WHERE factory_id = :id LIMIT 1", id=factory_id) is not None:
        raise Conflict(f"The factory {factory_id} has production.", hint="Remove that first: DELETE /production.")
    await tx.run("DELETE FROM factories WHERE id = :id", id=factory_id)
    await enter(tx, Entry("remove", "factory", str(factory_id), before=stored))


async def factory_ids(db: Reader) -> frozenset[int]:
    """Return the ids of all factories."""
    return frozenset(factory_id for (factory_id,) in await db.all("SELECT id FROM factories"))


async def check_factory_exists(db: Reader, factory_id: int) -> None:
    """Raise NotFound unless there is a factory with this id."""
    if await db.one("SELECT 1 FROM factories WHERE id = :id", id=factory_id) is None:
        raise no_factory(factory_id)


async def share_time_zone(tx: Transaction, factory_id: int) -> str:
    """Return a factory's time zone, which stays as it is until the transaction ends. Raises NotFound."""
    rows = await tx.share("SELECT time_zone FROM factories WHERE id = :id", id=factory_id)
    if not rows:
        raise no_factory(factory_id)
    return str(rows[0][0])


async def share_incoming_time_zones(tx: Transaction) -> dict[int, str]:
    """Return the time zones of the factories that the staged rows name, by id. They stay so as in share_time_zone."""
    named = "EXISTS (SELECT 1 FROM incoming WHERE incoming.factory_id = factories.id)"
    return dict(await tx.share(f"SELECT id, time_zone FROM factories WHERE {named} ORDER BY id"))


async def ensure_factory(tx: Transaction, name: str, time_zone: str = "UTC") -> tuple[Factory, bool]:
    """Return the factory with this name, and whether it had to be created, in this time zone."""
    row = await tx.one("SELECT id, name, time_zone FROM factories WHERE name = :name", name=name)
    if row is not None:
        return Factory(*row), False
    return await add_factory(tx, NewFactory(name=name, time_zone=time_zone)), True


def no_factory(factory_id: object) -> NotFound:
    """Return the refusal for an id that no factory has."""
    return NotFound(f"No factory has the id {factory_id}.", hint="GET /sprocketFactory/v1/factories lists them.")


def _check(new: NewFactory | WholeFactory | FactoryChanges) -> None:
    faults = []
    for member, check in (("name", check_factory_name), ("time_zone", check_time_zone)):
        value = getattr(new, member)
        if value is not UNSET:
            try:
                check(value)
            except Invalid as refusal:
                faults.append(Fault(f"/{member}", str(refusal)))
    if faults:
        raise Invalid(" ".join(fault.detail for fault in faults), faults=faults)


async def _check_unique(tx: Transaction, name: str, factory_id: int) -> None:
    row = await tx.one("SELECT id FROM factories WHERE name = :name AND id <> :id", name=name, id=factory_id)
    if row is not None:
        raise Conflict(
            f"The factory {row[0]} has this name already.", faults=[Fault("/name", "Another factory has this name.")]
        )


async def _expect(tx: Transaction, factory_id: int, expected: Expected) -> Factory:
    """Return the factory as nobody else can change it now. Raises NotFound or Stale."""
    row = await tx.lock(_FIND, id=factory_id)
    if row is None:
        raise no_factory(factory_id)
    stored = Factory(*row)
    check_expected(expected, stored)
    return stored

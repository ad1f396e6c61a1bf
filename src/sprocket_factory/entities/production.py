"""Production: what each factory set out to make at each time, and what it made."""

from collections.abc import AsyncGenerator
from typing import Annotated

from msgspec import Meta, Struct

from sprocket_factory.database import Database
from sprocket_factory.entities import Id
from sprocket_factory.entities.instant import Time, to_datetime

MAX_COUNT = 2_147_483_647

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT, description="A whole number of sprockets.")]


class ProductionRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record as it arrives among others: any factory, and its time in any form that is read."""

    factory_id: Id
    time: str | int | float
    sprocket_production_actual: Count
    sprocket_production_goal: Count


class Production(Struct, frozen=True):
    """What one factory set out to make at one moment, and what it made."""

    sprocket_production_actual: Count
    sprocket_production_goal: Count
    time: Time
    factory_id: Id


def list_production(db: Database) -> AsyncGenerator[list[Production]]:
    """Give all the records of all the factories by factory and time, in chunks from one snapshot."""
    return db.stream(
        _production,
        "SELECT sprocket_production_actual, sprocket_production_goal, time, factory_id"
        " FROM production ORDER BY factory_id, time",
    )


def list_production_of_factory(db: Database, factory_id: int) -> AsyncGenerator[list[Production]]:
    """Give all the records of one factory by time, in chunks from one snapshot."""
    return db.stream(
        _production,
        "SELECT sprocket_production_actual, sprocket_production_goal, time, factory_id"
        " FROM production WHERE factory_id = :factory_id ORDER BY time",
        factory_id=factory_id,
    )


def _production(actual: int, goal: int, time: int, factory_id: int) -> Production:
    return Production(actual, goal, to_datetime(time), factory_id)

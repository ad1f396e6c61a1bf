"""What every write of production leaves behind: here, and nowhere else, it is known which records were touched."""

from collections.abc import Sequence

from msgspec import Struct

from sprocket_factory.database import Transaction, Value
from sprocket_factory.entities.change import Action, Change, Entry, Span, enter
from sprocket_factory.entities.instant import LATEST, read_instant, to_datetime, to_text


async def enter_record(  # noqa: PLR0913 - whose record, and what became of it
    tx: Transaction,
    action: Action,
    factory_id: int,
    time: int,
    *,
    before: Struct | None = None,
    after: Struct | None = None,
) -> None:
    """Tell of one record, after it was written."""
    await enter(tx, Entry(action, "production", f"{factory_id}/{to_text(time)}", before, after))


async def enter_many(tx: Transaction, action: Action, spans: Sequence[Span], batch: int | None) -> None:
    """Tell of many records that were written at once.

    Args:
        tx: In which they were written.
        action: What was done to them.
        spans: Which they are, factory by factory; at least one.
        batch: Under which number the old ones are kept, if any were there before.
    """
    records = sum(span.records for span in spans)
    key = str(spans[0].factory_id) if len(spans) == 1 else ""
    await enter(tx, Entry(action, "production", key, records=records, spans=spans, batch=batch))


async def keep_records(tx: Transaction, batch: int, from_where: str, **values: Value) -> int:
    """Keep records as they are, under the number of a batch, before they are written over or removed; return how many.

    Args:
        tx: In which they will be written.
        batch: The number of the batch.
        from_where: The rest of a SELECT that finds them in the table `production`.
        values: Its parameters.
    """
    return await tx.run(
        "INSERT INTO change_rows (batch, factory_id, time, sprocket_production_actual, sprocket_production_goal)"
        " SELECT CAST(:batch AS bigint), production.factory_id, production.time,"
        f" production.sprocket_production_actual, production.sprocket_production_goal {from_where}",
        batch=batch,
        **values,
    )


def spans_of(change: Change) -> list[Span]:
    """Return which records of production a change has touched, by factory; none where it is of something else."""
    if change.entity != "production":
        return []
    if change.spans is not None:
        return change.spans
    factory_id, _, time = change.key.partition("/")
    moment = to_datetime(read_instant(time, LATEST))
    return [Span(int(factory_id), moment, moment, 1)]

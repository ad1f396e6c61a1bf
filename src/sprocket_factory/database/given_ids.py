"""The ids that tables have given, none of which is given again, whether its row is still there or not."""

from collections.abc import Mapping

from sprocket_factory.database import TABLES_WITH_IDS, Database, Transaction


async def last_ids(db: Database) -> dict[str, int]:
    """Return the last id that each table has given."""
    return {table: await db.last_id(table) for table in TABLES_WITH_IDS}


async def reserve_ids(tx: Transaction, last_ids: Mapping[str, int]) -> None:
    """Let no table give an id up to these any more."""
    for table, last_id in last_ids.items():
        await tx.reserve_ids(table, last_id)

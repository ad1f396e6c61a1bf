"""The schema on PostgreSQL: the same as SQLite's, and such that engines which spread rows over machines can keep it."""

import ast
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import asyncpg
import pytest

from harness import TABLES
from postgresql_server import Connection, PostgreSQLServer, migrate
from sprocket_factory.database import TABLES_WITH_IDS, Transaction, open_database
from sprocket_factory.errors import Busy

SOURCE = Path(__file__).parent.parent / "src" / "sprocket_factory"

MATCHING = {
    "INTEGER": {"bigint", "integer", "timestamp with time zone"},
    "REAL": {"double precision"},
    "TEXT": {"text"},
    "BLOB": {"bytea"},
}
"""What a type of SQLite's may be on PostgreSQL. Instants are whole microseconds there."""

OF_ITS_OWN = "('outcomes', 'new_changes')"
"""What PostgreSQL has to keep beside what is stored: one writer to a file knows how its own COMMIT ended, and in which
order it made its changes."""

INSTANT = re.compile("time|start|until|first|last|(.+_)?at")
"""What a column is called that holds one."""


class Column(NamedTuple):
    """A column as a table has it."""

    table: str
    name: str
    type: str
    required: bool


class Index(NamedTuple):
    """A created index, and what it covers in this order."""

    table: str
    name: str
    columns: tuple[str, ...]


class Reference(NamedTuple):
    """A foreign key of one column."""

    table: str
    column: str
    other_table: str
    other_column: str


class Schema(NamedTuple):
    """What two engines can be compared by."""

    columns: list[Column]
    primary_keys: dict[str, tuple[str, ...]]
    unique_keys: set[tuple[str, tuple[str, ...]]]
    references: set[Reference]
    indexes: set[Index]


@pytest.fixture
async def connection(postgresql: PostgreSQLServer) -> AsyncIterator[Connection]:
    """Give a connection to a database with the newest schema."""
    connection = await asyncpg.connect(postgresql.new_database())
    yield connection
    await connection.close()


async def schema_of_sqlite(path: Path) -> Schema:
    """Return the newest schema as SQLite has it."""
    await migrate(f"sqlite:///{path}")
    connection = apsw.Connection(str(path))

    def rows(sql: str, *values: str) -> list[Any]:
        return connection.execute(sql, values).fetchall()

    tables = sorted(
        name
        for (name,) in rows(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        )
    )
    columns, primary_keys, unique_keys, references, indexes = [], {}, set(), set(), set()
    for table in tables:
        about = rows('SELECT name, type, "notnull", pk FROM pragma_table_info(?) ORDER BY cid', table)
        columns += [Column(table, name, type_, bool(required or key)) for name, type_, required, key in about]
        primary_keys[table] = tuple(name for _, name in sorted((key, name) for name, _, _, key in about if key))
        references |= {
            Reference(table, column, other, other_column)
            for other, column, other_column in rows(
                'SELECT "table", "from", "to" FROM pragma_foreign_key_list(?)', table
            )
        }
        for name, origin in rows("SELECT name, origin FROM pragma_index_list(?)", table):
            covered = tuple(column for (column,) in rows("SELECT name FROM pragma_index_info(?) ORDER BY seqno", name))
            if origin == "u":
                unique_keys.add((table, covered))
            elif origin == "c":
                indexes.add(Index(table, name, covered))
    connection.close()
    return Schema(columns, primary_keys, unique_keys, references, indexes)


async def schema_of_postgresql(connection: Connection) -> Schema:
    """Return the newest schema as PostgreSQL has it."""
    columns = [
        Column(*row)
        for row in await connection.fetch(
            "SELECT CAST(table_name AS text), CAST(column_name AS text), data_type, is_nullable = 'NO'"
            f" FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT IN {OF_ITS_OWN}"
            ' ORDER BY table_name COLLATE "C", ordinal_position'
        )
    ]
    primary_keys, unique_keys, indexes = {}, set(), set()
    for table, name, is_primary, is_unique, covered in await connection.fetch(
        "SELECT CAST(CAST(indrelid AS regclass) AS text), CAST(CAST(indexrelid AS regclass) AS text),"
        " indisprimary, indisunique,"
        " ARRAY(SELECT trim('\"' FROM pg_get_indexdef(indexrelid, place, true))"
        "       FROM generate_series(1, indnkeyatts) AS place)"
        " FROM pg_index JOIN pg_class ON pg_class.oid = indrelid"
        f" WHERE relnamespace = CAST('public' AS regnamespace) AND relname NOT IN {OF_ITS_OWN}"
    ):
        if is_primary:
            primary_keys[table] = tuple(covered)
        elif is_unique:
            unique_keys.add((table, tuple(covered)))
        else:
            indexes.add(Index(table, name, tuple(covered)))
    references = {
        Reference(*row)
        for row in await connection.fetch(
            "SELECT CAST(CAST(conrelid AS regclass) AS text), CAST(mine.attname AS text),"
            " CAST(CAST(confrelid AS regclass) AS text), CAST(other.attname AS text) FROM pg_constraint"
            " JOIN pg_attribute AS mine ON mine.attrelid = conrelid AND mine.attnum = ALL (conkey)"
            " JOIN pg_attribute AS other ON other.attrelid = confrelid AND other.attnum = ALL (confkey)"
            " WHERE contype = 'f'"
        )
    }
    return Schema(columns, primary_keys, unique_keys, references, indexes)


async def test_both_engines_have_the_same_tables_and_columns(connection: Connection, tmp_path: Path) -> None:
    """They have the same names, stand in the same order, and ask for a value where the other does."""
    sqlite = await schema_of_sqlite(tmp_path / "a.db")
    postgresql = await schema_of_postgresql(connection)

    assert {*TABLES, "rollups", "migrations"} == {column.table for column in postgresql.columns}
    assert [(column.table, column.name, column.required) for column in sqlite.columns] == [
        (column.table, column.name, column.required) for column in postgresql.columns
    ]


async def test_both_engines_keep_a_column_in_matching_types(connection: Connection, tmp_path: Path) -> None:
    """What one engine keeps fits into the other; only the migrations are each engine's own."""
    sqlite = await schema_of_sqlite(tmp_path / "a.db")
    postgresql = await schema_of_postgresql(connection)

    assert [] == [
        (mine, theirs)
        for mine, theirs in zip(sqlite.columns, postgresql.columns, strict=True)
        if mine.table != "migrations" and theirs.type not in MATCHING[mine.type]
    ]


async def test_both_engines_have_the_same_keys_and_indexes(connection: Connection, tmp_path: Path) -> None:
    """What is unique, what refers to what, and what is found quickly does not depend on the engine."""
    sqlite = await schema_of_sqlite(tmp_path / "a.db")
    postgresql = await schema_of_postgresql(connection)

    assert sqlite[1:] == postgresql[1:]


@pytest.mark.parametrize(
    "values",
    [
        "sprockets (teeth, pitch_diameter, outside_diameter, pitch) VALUES (2, 1, 1, 1)",
        "sprockets (teeth, pitch_diameter, outside_diameter, pitch) VALUES (10001, 1, 1, 1)",
        "sprockets (teeth, pitch_diameter, outside_diameter, pitch) VALUES (3, 0, 1, 1)",
        "sprockets (teeth, pitch_diameter, outside_diameter, pitch) VALUES (3, 1, 1000000.1, 1)",
        "sprockets (teeth, pitch_diameter, outside_diameter, pitch) VALUES (3, 1, 1, -1)",
        "sprockets (teeth, pitch_diameter, outside_diameter) VALUES (3, 1, 1)",
        "factories (name, time_zone) VALUES ('', 'UTC')",
        "factories (name) VALUES ('Leeds')",
        "factories (name, time_zone) VALUES ('Sheffield', 'UTC')",
        "production SELECT 1, time, -1, 0 FROM production",
        "production SELECT 1, time, 0, 2147483648 FROM production",
        "production SELECT 2, time, 0, 0 FROM production",
        "production SELECT factory_id, time, 0, 0 FROM production",
    ],
)
async def test_the_tables_themselves_refuse_what_nobody_may_store(database_url: str, values: str) -> None:
    """Whoever writes past the service meets the same bounds, on both engines."""

    async def begin(tx: Transaction) -> None:
        await tx.run("INSERT INTO factories (name, time_zone) VALUES ('Sheffield', 'UTC')")
        await tx.run("INSERT INTO production VALUES (1, :time, 0, 0)", time=1_611_194_818_000_000)

    async def insert(tx: Transaction) -> None:
        await tx.run(f"INSERT INTO {values}")

    database = await open_database(database_url)
    try:
        await database.write(begin, by="test")
        with pytest.raises((apsw.ConstraintError, asyncpg.PostgresError, Busy)):
            await database.write(insert, by="test")
        counted = {table: await database.one(f"SELECT count(*) FROM {table}") for table in TABLES}
    finally:
        await database.close()

    assert {"factories": 1, "production": 1} == {table: row[0] for table, row in counted.items() if row and row[0]}


async def test_production_can_be_spread_by_factory(connection: Connection) -> None:
    """Its primary key is factory and time, and nothing is unique on it without the factory."""
    schema = await schema_of_postgresql(connection)

    assert ("factory_id", "time") == schema.primary_keys["production"]
    assert [] == [key for key in schema.unique_keys if key[0] == "production" and "factory_id" not in key[1]]


async def test_nothing_counts_the_records_of_production(connection: Connection) -> None:
    """A sequence would be one place that every writer has to go to."""
    counted = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'production'"
        " AND (is_identity = 'YES' OR column_default IS NOT NULL)"
    )
    sequences = await connection.fetch(
        "SELECT DISTINCT CAST(CAST(refobjid AS regclass) AS text) FROM pg_depend JOIN pg_class ON pg_class.oid = objid"
        " WHERE relkind = 'S' AND refclassid = CAST('pg_class' AS regclass) ORDER BY 1"
    )

    assert [] == counted
    assert sorted([*TABLES_WITH_IDS, "new_changes"]) == [table for (table,) in sequences]


async def test_every_instant_is_kept_as_one(connection: Connection) -> None:
    """A time without its zone means another instant to whoever reads it elsewhere."""
    schema = await schema_of_postgresql(connection)
    kept_as = {column.type for column in schema.columns if INSTANT.fullmatch(column.name)}
    others = [column for column in schema.columns if not INSTANT.fullmatch(column.name)]

    assert {"timestamp with time zone"} == kept_as
    assert [] == [column for column in others if re.match("date|time", column.type)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT proname FROM pg_proc WHERE pronamespace = CAST('public' AS regnamespace)",
        "SELECT rulename FROM pg_rules WHERE schemaname = 'public'",
        "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'",
    ],
    ids=lambda sql: re.findall(r"FROM (\w+)", sql)[0],
)
async def test_nothing_runs_inside_the_database(connection: Connection, sql: str) -> None:
    """There are no triggers, functions, rules or extensions: not every engine has them, and nobody looks for them."""
    assert [] == await connection.fetch(sql)


@pytest.mark.parametrize(
    "pattern",
    [
        r"::\w",
        r"LISTEN|NOTIFY",
        r"(?i)pg_\w*advisory",
        r"LOCK TABLE",
        r"CREATE (OR REPLACE )?(TRIGGER|FUNCTION|PROCEDURE|EXTENSION)",
    ],
)
def test_no_sql_asks_for_what_other_engines_lack(pattern: str) -> None:
    """CAST is everybody's; LISTEN, locks of tables and of numbers, triggers and functions are not.

    A restore is PostgreSQL's alone, as its programs are that do it.
    """
    texts = [file.read_text() for file in SOURCE.rglob("*.sql")]
    files = {*SOURCE.glob("database/*.py"), *SOURCE.glob("entities/*.py")}
    for file in sorted(files - {SOURCE / "database" / "restoring_postgresql.py"}):
        tree = ast.parse(file.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        ]

    assert [] == [text for text in texts if re.search(pattern, text)]

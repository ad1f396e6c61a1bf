"""Who is measured side by side, each with the same rows: 60 sprockets and a million records of eleven factories."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from benchmarks.baselines.table import open_with_table
from benchmarks.contenders import Contender, make_key, migrate_product, serve_baseline, serve_product
from benchmarks.filling import SQLITE_INTEGERS, Factory, Stock, fill_plain, fill_postgresql, fill_sqlite
from benchmarks.postgresql import run_cluster
from benchmarks.programs import PROGRAM_OF, serve_datasette, serve_program

PRODUCT, ON_POSTGRESQL = "this service", "on PostgreSQL"
BARE, BARE_ON_POSTGRESQL = "bare limit", "bare on PostgreSQL"
FLASK, TUNED_FLASK, DATASETTE = "Flask", "tuned Flask", "Datasette"
# Datasette and the bare one on PostgreSQL read what another has stored, and so come behind that one.
EVERYBODY = (PRODUCT, ON_POSTGRESQL, BARE, BARE_ON_POSTGRESQL, *PROGRAM_OF, DATASETTE)

SPROCKETS = 60
# A factory of few records is what the check compares; all together have a million. The check adds the last sprocket.
FEW = Factory(11, 60)
STOCK = Stock([*(Factory(number, 99_994) for number in range(1, 11)), FEW], SPROCKETS - 1)


@contextmanager
def serve_product_filled(folder: Path, stock: Stock) -> Iterator[Contender]:
    """Run the product on SQLite as an operator does, with everything on, and a key to ask it with."""
    file = folder / "product.db"
    migrate_product(folder, f"sqlite:///{file}")
    fill_sqlite(file, stock)
    key = make_key(folder, "engineer")
    with serve_product(folder) as product:
        yield msgspec.structs.replace(product, name=PRODUCT, key=key)


@contextmanager
def serve_product_on_postgresql(folder: Path) -> Iterator[Contender]:
    """Run the product on a PostgreSQL of its own, with everything on."""
    with run_cluster(folder) as cluster:
        asyncio.run(cluster.run("CREATE DATABASE product", "SELECT 1"))
        address = cluster.address("product")
        migrate_product(folder, address)
        fill_postgresql(address, STOCK)
        key = make_key(folder, "engineer", address)
        with serve_product(folder, address) as product:
            yield msgspec.structs.replace(product, name=ON_POSTGRESQL, key=key, beside=cluster.pid)


@contextmanager
def serve_bare(folder: Path, stock: Stock) -> Iterator[Contender]:
    """Run the bare limit."""
    file = folder / "bare.db"
    open_with_table(file).close()
    fill_plain(file, stock, SQLITE_INTEGERS)
    with serve_baseline("bare", folder, file) as bare:
        yield msgspec.structs.replace(bare, name=BARE)


@contextmanager
def serve_bare_on_postgresql(folder: Path, product: Contender) -> Iterator[Contender]:
    """Run bare ASGI on asyncpg's pool as it comes, over the tables of the product. It reads only."""
    with serve_baseline("bare_postgresql", folder, product.database) as bare:
        yield msgspec.structs.replace(bare, name=BARE_ON_POSTGRESQL, beside=product.beside, whole=False)


def start(name: str, folder: Path, started: Mapping[str, Contender]) -> AbstractContextManager[Contender]:
    """Return what runs the contender of this name, filled, to the end of a block; `started` are those that run."""
    own: dict[str, Callable[[], AbstractContextManager[Contender]]] = {
        PRODUCT: lambda: serve_product_filled(folder, STOCK),
        ON_POSTGRESQL: lambda: serve_product_on_postgresql(folder),
        BARE: lambda: serve_bare(folder, STOCK),
        BARE_ON_POSTGRESQL: lambda: serve_bare_on_postgresql(folder, started[ON_POSTGRESQL]),
        DATASETTE: lambda: serve_datasette(Path(started[FLASK].database), folder),
    }
    return own[name]() if name in own else serve_program(name, folder, STOCK)

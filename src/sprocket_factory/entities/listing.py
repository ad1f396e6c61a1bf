"""Lists: which fields of an entity can be filtered and sorted by, and the SQL for it.

A list is described once, beside its entity. Names of columns come from that description alone, and values only ever
travel as parameters.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from sprocket_factory.database import Database, Value

Kind = Literal["integer", "number", "text", "time", "shown"]
"""What a column holds. One that is `shown` is neither filtered nor sorted by: it may be null, or is no single value."""

Operator = Literal["eq", "lt", "lte", "gt", "gte", "in", "contains"]

SIGNS: Mapping[Operator, str] = {"eq": "=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}

T = TypeVar("T")


class Listing(NamedTuple, Generic[T]):
    """What can be listed."""

    table: str
    columns: Mapping[str, Kind]
    """The columns in the order of the entity's members."""
    key: tuple[str, ...]
    """What tells one row from every other; the default order."""
    make: Callable[..., T]
    """Makes a row what it stands for."""
    indexes: tuple[tuple[str, ...], ...] = ()
    """In which orders rows are found without looking at all of them, besides the key's."""
    folded: Mapping[str, str] = {}
    """For each column that `contains` works on, the column with its folded text."""

    def __hash__(self) -> int:
        """Return what tells it from the others: each is made once, so that what is worked out of it is remembered."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class Filter(NamedTuple):
    """A condition that each row of a list fulfils."""

    column: str
    operator: Operator
    values: tuple[Value, ...]
    """One value; for `in` any number."""


class Order(NamedTuple):
    """A term of the order in which rows come."""

    column: str
    descending: bool = False


class Query(NamedTuple):
    """Which rows, in which order, and how many."""

    filters: tuple[Filter, ...] = ()
    order: tuple[Order, ...] = ()
    """Ends with every column of the key, so that no two rows are equal."""
    limit: int | None = None
    after: tuple[Value, ...] | None = None
    """The ordered columns of the row before the first one."""


def stream_list(db: Database, listing: Listing[T], query: Query) -> AsyncGenerator[list[T]]:
    """Give every row of the list in chunks, from one snapshot. Raises Busy or TooSlow."""
    sql, values, is_scan = _plan(listing, query)
    return db.stream(listing.make, sql, values, scans=is_scan)


def read_few(db: Database, listing: Listing[T], query: Query) -> list[T] | None:
    """Return every row of the list, if these are few and there at once; else stream_list gives them."""
    sql, values, is_scan = _plan(listing, query)
    return db.few(listing.make, sql, values, scans=is_scan)


async def read_list(db: Database, listing: Listing[T], query: Query) -> list[T]:
    """Return the rows of a list with a limit. Raises Busy or TooSlow."""
    sql, values, is_scan = _plan(listing, query)
    return await db.read(listing.make, sql, values, scans=is_scan)


class _Plan(NamedTuple):
    """How a list is read."""

    sql: str
    values: Mapping[str, Value]
    scans: bool


def _plan(listing: Listing[Any], query: Query) -> _Plan:
    """Return how a list is read. That of a whole list, or of its first page, is asked for again and again."""
    is_common = not query.filters and query.after is None
    return _remembered(listing, query) if is_common else _worked_out(listing, query)


def _worked_out(listing: Listing[Any], query: Query) -> _Plan:
    return _Plan(*select(listing, query), scans(listing, query))


_remembered = lru_cache(maxsize=1000)(_worked_out)


async def count_list(db: Database, listing: Listing[Any], query: Query) -> int:
    """Return how many rows the filters leave, wherever the page begins. Raises Busy or TooSlow."""
    values: dict[str, Value] = {}
    where = _where(_conditions(listing, query.filters, values))
    (total,) = await db.read(int, f"SELECT count(*) FROM {listing.table}{where}", values, scans=True)
    return total


def select(listing: Listing[Any], query: Query) -> tuple[str, dict[str, Value]]:
    """Return the statement for the rows of a list, and its parameters."""
    values: dict[str, Value] = {}
    filters = query.filters if query.after is None else _not_implied(query)
    conditions = list(_conditions(listing, filters, values))
    if query.after is not None:
        conditions.append(_behind(listing, query, values))
    terms = ", ".join(f"{column} DESC" if descending else column for column, descending in query.order)
    limit = ""
    if query.limit is not None:
        limit = " LIMIT :limit"
        values["limit"] = query.limit
    columns = ", ".join(listing.columns)
    from_where = f"FROM {listing.table}{_where(conditions)}"
    return f"SELECT {columns} {from_where} ORDER BY {terms}{limit}", values


def scans(listing: Listing[Any], query: Query) -> bool:
    """Return whether more rows may have to be looked at than the list gives.

    None are where one index has the rows in this order, and the filters leave one run of it: some of its first
    columns are equal to something, and the next one is bounded.
    """
    return not any(_is_one_run(index, query) for index in (listing.key, *listing.indexes))


def _is_one_run(index: Sequence[str], query: Query) -> bool:
    equal = _fixed(query)
    if any(operator in {"in", "contains"} for _, operator, _ in query.filters):
        return False
    bounded = {column for column, operator, _ in query.filters if operator != "eq"}
    fixed = next((place for place, column in enumerate(index) if column not in equal), len(index))
    rest = index[fixed:]
    if not equal <= set(index[:fixed]) or not bounded <= {*index[:fixed], *rest[:1]}:
        return False
    order = [term for term in query.order if term.column not in equal]
    same_way = len({descending for _, descending in order}) <= 1
    # Behind the whole index nothing is left to sort: its columns are the key.
    return same_way and [column for column, _ in order][: len(rest)] == list(rest)[: len(order)]


def _fixed(query: Query) -> set[str]:
    return {column for column, operator, _ in query.filters if operator == "eq"}


def _where(conditions: Sequence[str] | Iterator[str]) -> str:
    joined = " AND ".join(conditions)
    return f" WHERE {joined}" if joined else ""


def _conditions(listing: Listing[Any], filters: Sequence[Filter], values: dict[str, Value]) -> Iterator[str]:
    for number, (column, operator, wanted) in enumerate(filters):
        name = f"filter_{number}"
        if operator == "in":
            names = [f"{name}_{place}" for place in range(len(wanted))]
            values.update(zip(names, wanted, strict=True))
            yield f"{column} IN ({', '.join(_parameter(listing, column, name) for name in names)})"
        elif operator == "contains":
            values[name] = _pattern(str(wanted[0]))
            yield f"{listing.folded[column]} LIKE :{name} ESCAPE '!'"
        else:
            values[name] = wanted[0]
            yield f"{column} {SIGNS[operator]} {_parameter(listing, column, name)}"


def _parameter(listing: Listing[Any], column: str, name: str) -> str:
    """Return the place of a value. An engine that knows small integers must not take a large one for an error."""
    is_integer = listing.columns.get(column, "integer") == "integer"  # what is not shown is the number of something
    return f"CAST(:{name} AS bigint)" if is_integer else f":{name}"


def _pattern(text: str) -> str:
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return f"%{text.casefold()}%"


def _not_implied(query: Query) -> list[Filter]:
    """Return the filters without those that every row behind the cursor fulfils.

    Given two bounds of one column the planner takes either, and with the wrong one it would walk over every page
    before this one.
    """
    column, descending = query.order[0]
    implied = {"lt", "lte"} if descending else {"gt", "gte"}
    return [filter_ for filter_ in query.filters if filter_.column != column or filter_.operator not in implied]


def _behind(listing: Listing[Any], query: Query, values: dict[str, Value]) -> str:
    """Return the condition that a row comes after the one that the page before ended with."""
    fixed = _fixed(query)
    after = zip(query.order, query.after or (), strict=True)
    terms = [(order.column, "<" if order.descending else ">", value) for order, value in after]
    terms = [term for term in terms if term[0] not in fixed] or terms
    values |= {f"after_{place}": value for place, (_, _, value) in enumerate(terms)}
    columns = [column for column, _, _ in terms]
    parameters = [_parameter(listing, column, f"after_{place}") for place, column in enumerate(columns)]
    if len({sign for _, sign, _ in terms}) == 1:
        places = ", ".join(parameters)
        return f"({', '.join(columns)}) {terms[0][1]} ({places})"
    alternatives = [
        " AND ".join(
            [f"{before} = {parameter}" for before, parameter in zip(columns[:last], parameters, strict=False)]
            + [f"{column} {sign} {parameters[last]}"]
        )
        for last, (column, sign, _) in enumerate(terms)
    ]
    # Beside the alternatives stands what they have in common: a bound that an index can begin at.
    common = f"{columns[0]} {terms[0][1]}= {parameters[0]}"
    return f"{common} AND (" + " OR ".join(f"({alternative})" for alternative in alternatives) + ")"

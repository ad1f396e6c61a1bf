"""What a secret stands for, looked up once for as long as nothing can have changed."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from sprocket_factory.database import Database

MOST = 10_000

T = TypeVar("T")


class Found(Generic[T]):
    """What was found by the digest of a secret; that it was nothing is kept as well.

    It stands as long as the database's stamp. Where the database is in this process any commit changes that, so that
    what was revoked is refused at once; where it is a server, two seconds do.
    """

    def __init__(self, database: Database, find: Callable[[Database, bytes], Awaitable[T | None]]) -> None:
        self._database = database
        self._find = find
        self._found: dict[bytes, tuple[float | None, T | None]] = {}

    async def by(self, digest: bytes) -> T | None:
        """Return what the secret of this digest stands for. Raises as the function that finds it."""
        # The stamp of before: what is committed while this is looked up makes it look again.
        stamp = self._database.stamp()
        found_at, found = self._found.get(digest, (None, None))
        if found_at != stamp:
            found = await self._find(self._database, digest)
            if len(self._found) >= MOST:
                self._found.clear()
            self._found[digest] = (stamp, found)
        return found

    def forget(self) -> None:
        """Look all up anew."""
        self._found.clear()

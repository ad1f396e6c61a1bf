"""What a caller is told when SQLite fails."""

import apsw

from sprocket_factory.errors import Busy, Refusal, StorageFull, TooSlow, Unavailable


def refusal_for(error: Exception) -> Exception:
    """Return what a caller is told of an error: a refusal, whose cause it is, where SQLite has failed; else itself."""
    refusal: Refusal
    match error:
        case apsw.BusyError() | apsw.LockedError():
            refusal = busy()
        case apsw.FullError() | apsw.ReadOnlyError():
            refusal = StorageFull("The storage is full or read-only.", hint="Reading goes on; make room on its disk.")
        case apsw.InterruptError():
            refusal = TooSlow("This takes longer to find than is allowed.", hint="Narrow it down, or sort by the key.")
        case apsw.IOError() | apsw.CantOpenError():
            refusal = Unavailable("The storage does not answer.", hint="Try again in a moment.")
        case _:
            return error
    refusal.__cause__ = error  # the log tells both
    return refusal


def busy() -> Refusal:
    """Return the refusal for a write whose turn does not come."""
    return Busy("Another write holds the database.", hint="Try again in a moment.")

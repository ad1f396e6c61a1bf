"""What a caller is told when SQLite fails."""

import apsw

from sprocket_factory.errors import Busy, Refusal, StorageFull, TooSlow, Unavailable


def refusal_for(error: apsw.Error) -> Exception:
    """Return what a caller is told when SQLite fails: a refusal where it is one, else the error itself."""
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return busy()
        case apsw.FullError() | apsw.ReadOnlyError():
            return StorageFull("The storage is full or read-only.", hint="Reading goes on; make room on its disk.")
        case apsw.InterruptError():
            return TooSlow("This takes longer to find than is allowed.", hint="Narrow it down, or sort by the key.")
        case apsw.IOError() | apsw.CantOpenError():
            return Unavailable("The storage does not answer.", hint="Try again in a moment.")
    return error


def for_caller(error: Exception) -> Exception:
    """Return the same of any error; what is no failure of SQLite's stays as it is."""
    if not isinstance(error, apsw.Error):
        return error
    refusal = refusal_for(error)
    if refusal is not error:
        refusal.__cause__ = error  # the log tells both
    return refusal


def busy() -> Refusal:
    """Return the refusal for a write whose turn does not come."""
    return Busy("Another write holds the database.", hint="Try again in a moment.")

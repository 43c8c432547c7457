"""What PostgreSQL's failures mean: a stable code, a sentence and the next step, never the server's own words.

Those would name hosts and accounts. A server that refuses a connection gives words and no code; they are
compared in English, and in another language it merely counts as one that cannot be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.domain.errors import RobiError, Unavailable
from core.ledger.database import cannot_hold

_CHECK_LOGIN = "Correct user, password and database in DATABASE_URL, and what pg_hba.conf allows them."
_UNREACHABLE = Unavailable(
    "ledger_unreachable",
    "The PostgreSQL server cannot be reached.",
    "Start it, or correct DATABASE_URL; Robi connects again by itself.",
)
_REFUSED = Unavailable("ledger_refused", "The PostgreSQL server refuses the login.", _CHECK_LOGIN)
_NO_RIGHT = Unavailable(
    "ledger_refused",
    "The PostgreSQL account may not do what Robi needs.",
    "Make it the owner of the database, or grant it all rights on the schema.",
)
_READ_ONLY = Unavailable(
    "ledger_read_only",
    "The PostgreSQL server is a standby, or set read-only: nothing can be saved.",
    "Name the primary in DATABASE_URL; with several hosts, add target_session_attrs=read-write.",
)
_CROWDED = Unavailable(
    "ledger_crowded",
    "There are too many connections to the PostgreSQL server.",
    "Try again; if it stays so, raise max_connections or close what else uses the server.",
)
_DISK_FULL = Unavailable(
    "disk_full",
    "The disk of the PostgreSQL server is full: nothing was saved.",
    "Free some space on that disk, then try again.",
)
_IN_DOUBT = Unavailable(
    "ledger_unreachable",
    "The connection to the PostgreSQL server broke while it was saving: whether it saved is not known.",
    "See whether the change is there, then make it again if it is not.",
)

_BY_STATE = {  # https://www.postgresql.org/docs/current/errcodes-appendix.html
    "08": _UNREACHABLE,
    "25006": _READ_ONLY,
    "28": _REFUSED,
    "3D000": _REFUSED,
    "42501": _NO_RIGHT,
    "53100": _DISK_FULL,
    "53300": _CROWDED,
    "57P": _UNREACHABLE,  # is shutting down, has crashed, is starting
}
_BY_WORDS = {
    "too many clients": _CROWDED,
    "too many connections": _CROWDED,
    "connection slots are reserved": _CROWDED,
    "authentication failed": _REFUSED,
    "no password supplied": _REFUSED,
    "no pg_hba.conf entry": _REFUSED,
    "does not exist": _REFUSED,  # the account, or the database
    "is not permitted to log in": _REFUSED,
    "permission denied for database": _REFUSED,
    "session is read-only": _READ_ONLY,  # of the hosts named, with target_session_attrs
    "server is in hot standby mode": _READ_ONLY,
}


@contextmanager
def translated() -> Iterator[None]:
    """Turn a failure of the database, or a value that it cannot hold, into the sentence for it."""
    try:
        yield
    except DBAPIError as problem:
        raise _meaning(problem.orig) from problem
    except psycopg.Error as problem:  # from a cursor of the driver itself
        raise _meaning(problem) from problem
    except PoolTimeout as problem:
        raise _again(_CROWDED) from problem
    except (OverflowError, UnicodeEncodeError):  # endless integers, half characters; their texts quote them
        raise cannot_hold() from None


def in_doubt() -> Unavailable:
    """The connection was lost between the wish to commit and the answer to it."""
    return _again(_IN_DOUBT)


def _meaning(problem: BaseException | None) -> RobiError:
    if isinstance(problem, psycopg.DataError):  # too large, a character of value zero, half of one
        return cannot_hold()
    state = getattr(problem, "sqlstate", None)
    if state is None and isinstance(problem, psycopg.OperationalError):
        return _again(_by_words(str(problem)))
    state = state or "HV000"  # the driver's own
    if state.startswith("54"):  # of a limit: a text too long for an index, JSON nested too deep
        return cannot_hold()
    for length in (5, 3, 2):
        if (known := _BY_STATE.get(state[:length])) is not None:
            return _again(known)
    return Unavailable(
        "ledger_unavailable",
        f"The ledger cannot be used (SQLSTATE {state}).",
        "Try again; if it stays so, look into the log of the PostgreSQL server.",
    )


def _by_words(words: str) -> Unavailable:
    return next((known for said, known in _BY_WORDS.items() if said in words), _UNREACHABLE)


def _again(known: Unavailable) -> Unavailable:
    """One of its own for each time: an exception keeps where it was raised."""
    return Unavailable(known.code, known.message, known.hint)

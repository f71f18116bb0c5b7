"""Everything Understudy raises on purpose.

    UnderstudyError
    ├── UserError (also a ValueError): the user's input is wrong; exit code 2
    │   ├── StudyError        the study file: unknown key, wrong value, arms that contradict each other
    │   ├── DataError         a file of problems or chains: file, line, field
    │   │   └── RowError      a row of one, which skip_bad leaves out
    │   ├── CheckpointError   a student or teacher directory that cannot be loaded
    │   │   └── AbsentError   a model of the hub that is not on this machine
    │   └── BusyError         another process is writing there
    ├── AccountError          an endpoint refuses the key or account, so no request succeeds until the user fixes that; exit code 1
    └── EngineError           a model did not answer, or its answer is unusable; exit code 1 (3 where the run continued)
        ├── TooLongError      a prompt that leaves no room in the model's context
        └── UnpaidError       the request was refused or never arrived, so it cost nothing
            └── BudgetError   the budget has no room for the request, so it was not sent

A message names the file, line, field or option, shows the value, and says what to do.
"""

from collections.abc import Iterable

from understudy.core.asks import Usage


class UnderstudyError(Exception):
    """Root of the tree."""


class UserError(UnderstudyError, ValueError):
    """The user's input is wrong. The message says what to change."""


class StudyError(UserError):
    """The study file (or an option that overrides it) is wrong."""


class DataError(UserError):
    """A file of problems or chains is wrong."""


class RowError(DataError):
    """A row of such a file cannot be read; `skip_bad` leaves it out."""


class CheckpointError(UserError):
    """A model directory cannot be loaded."""


class AbsentError(CheckpointError):
    """A model of the hub is not on this machine, and was not or could not be fetched."""


class BusyError(UserError):
    """Another process holds the ledger or the run directory."""


class AccountError(UnderstudyError):
    """An endpoint refuses the key or shuts the client out for a long time, or the account has no credit.

    Sampling stops at once; running the same command again continues it. No flow catches this error. ``usage`` is the cost of the
    request, where known.
    """

    usage: Usage | None = None


class EngineError(UnderstudyError):
    """A model did not answer, or its answer is unusable. ``usage`` is the cost, where known."""

    def __init__(self, message: str, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage


class TooLongError(EngineError):
    """A prompt leaves no room for a reply in the model's context. If models wrote most of it, the flow counts as cut off."""


class UnpaidError(EngineError):
    """A request was refused or never arrived, so it cost nothing."""


class BudgetError(UnpaidError):
    """The budget had no room for a request, so it was not sent. This ends only its own flow."""


RESUME_HINT = "What came is kept: run the same command again to continue"
"""The end of a message about a run that ended early."""


def counted(n: int, noun: str) -> str:
    """Return ``n`` with its noun: ``1 question``, ``1,200 questions``, ``2 replies``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun[:-1]}ies" if noun.endswith("y") else f"{n:,} {noun}s"


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word nearest to ``word``, else ``""``, for error messages."""
    import difflib

    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def with_known(word: str, known: Iterable[str], label: str = "known") -> str:
    """Return ``"'nmae'; did you mean 'name'? (known: id, name)"`` for error messages. ``label`` is what the known words are."""
    known = list(known)
    listed = ", ".join(repr(name) if "," in name else name for name in known)
    return f"{word!r}{suggest(word, known)} ({label}: {listed or 'none'})"

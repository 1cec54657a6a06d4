"""User-facing errors.

Every message has one form: *where: expected X; got Y; remedy*. The four parts are fields, so that no code parses
a message: a part may itself contain a colon or a semicolon.
Each entry point translates these errors once: the page into a message, the command line
into ``error: …`` and exit status 2. Any other exception is a bug in Lineup, and its traceback is logged.
"""

import copy
import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Self, TypeVar

PROBLEM_TYPE = "application/problem+json"  # the media type of `LineupError.to_problem`
INTERNAL_ERROR = "Something went wrong on the server; its log has the details."  # shown for any other exception
T = TypeVar("T")

DID_YOU_MEAN = "did you mean"  # prefix of a remedy that is a suggestion


class LineupError(Exception):
    """Base class of errors whose message is shown to the user verbatim; empty parts are omitted.

    Args:
        where: the backbone, file, argument or config location that is invalid.
        expected: the valid value, without the word "expected".
        got: the actual value, as a complete clause: ``got 'x'``, ``there is no such file``.
        remedy: how to fix it.
    """

    def __init__(self, where: str, expected: str, got: str, remedy: str = "") -> None:
        super().__init__(where, expected, got, remedy)
        self.where, self.expected, self.got, self.remedy = where, expected, got, remedy

    def __str__(self) -> str:
        message = "; ".join(filter(None, (self.expected and f"expected {self.expected}", self.got, self.remedy)))
        return ": ".join(filter(None, (self.where, message)))

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would pass args to the constructor, and a subclass may have another signature
        return _new, (type(self), self.args), self.__dict__

    def at(self, name: str) -> Self:
        """Return a copy whose `where` is prefixed with a name, unless it already has that prefix."""
        named = copy.copy(self)
        named.__cause__ = self.__cause__
        if self.where != name and not self.where.startswith(f"{name}: "):
            named.where = f"{name}: {self.where}" if self.where else name
            named.args = (named.where, *self.args[1:])
        return named

    def to_json(self) -> dict[str, str]:
        """Return the error as the API returns it: the message and its parts."""
        fields = {"where": self.where, "expected": self.expected, "got": self.got.removeprefix("got ")}
        return {"error": str(self), **fields, "remedy": self.remedy}

    def to_problem(self, status: int) -> dict[str, Any]:
        """Return the error as problem details (RFC 9457); its parts and ``error``, its message, are more members."""
        title = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Error"
        return {"type": "about:blank", "title": title, "status": status, "detail": str(self), **self.to_json()}


@contextmanager
def writing_errors(where: str, expected: str, remedy: str) -> Iterator[None]:
    """Translate an OSError of the block, such as that of a full disk, into a LineupError with these parts."""
    try:
        yield
    except OSError as error:
        raise LineupError(where, expected, f"writing failed ({error.strerror})", remedy) from error


def _new(kind: type[LineupError], args: tuple[str, ...]) -> LineupError:
    """Create an error without calling its constructor; `copy` and `pickle` restore its fields."""
    return kind.__new__(kind, *args)


class ConfigError(LineupError):
    """The config is invalid. Holds all problems, so that one run reports every one."""

    def __init__(self, *problems: str) -> None:
        super().__init__("", "", "\n".join(problems))
        self.problems = problems


class BackboneError(LineupError):
    """A backbone cannot be built or run, and a retry will not help."""


class UnknownBackboneError(BackboneError):
    """There is no backbone of that name in the line-up."""


class FeaturesOnlyError(BackboneError):
    """A backbone returns features, and no classes."""


class ClassesOnlyError(BackboneError):
    """A backbone returns classes, and no features."""


class ForwardTimeout(BackboneError):
    """A forward pass exceeded its timeout; it may still finish later."""


class HubError(BackboneError):
    """A backbone's files could not be downloaded; a retry may succeed."""


class UnreachableError(HubError):
    """The server that hosts a backbone's files did not respond."""


class ImageError(LineupError):
    """An image cannot be decoded."""


class BusyError(LineupError):
    """The server is at capacity; a retry may succeed."""


class ClientDisconnected(LineupError):
    """The client disconnected before its response was ready."""

    def __init__(self) -> None:
        super().__init__("", "", "the client disconnected")


def unique_names(table: str, rows: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return a table of an extension point, such as ENGINES, as a dict.

    Raises:
        ValueError: when two rows have the same name, which a dict literal accepts silently.
    """
    index: dict[str, T] = {}
    for name, value in rows:
        if name in index:
            raise ValueError(f"{table}: expected unique names; got {name!r} twice; rename one of them")
        index[name] = value
    return index


def did_you_mean(word: str, known: list[str]) -> str:
    """Return ``did you mean 'resnet50'?``, or an empty string when there is no close match."""
    originals = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), originals, n=1, cutoff=0.75)
    return f"{DID_YOU_MEAN} {originals[matches[0]]!r}?" if matches else ""


def brief(exception: BaseException, max_chars: int = 200, line: int | None = None) -> str:
    """Summarize a library's exception in one line: its message, without its type.

    Args:
        exception: the exception that a library raised.
        max_chars: the message is truncated to this length.
        line: index of the line to use, such as 0 or -1; by default all lines are joined.
    """
    text = str(exception).strip()
    if line is not None and text:
        text = text.splitlines()[line]
    return " ".join(text.split())[:max_chars] or "an error without a message"

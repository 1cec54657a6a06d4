"""The errors whose text is meant for people.

Every text follows one form: *where: what was expected; what came; what to do.* An error keeps these four as fields, so
that nobody has to take its text apart: what a part says may itself hold a colon or a semicolon.
Each entry point translates them once: the page into a message, the command line
into ``error: …`` and exit status 2. Any other exception is a bug of ours and keeps
its traceback in the log.
"""

import copy
import difflib
from typing import Any, Self

WENT_WRONG = "Something went wrong on the server; its log has the details."  # told of any other exception
DID_YOU_MEAN = "did you mean"  # how a remedy begins that is a guess


class LineupError(Exception):
    """An error whose text is shown to the visitor as it stands; an empty part is left out of it.

    Args:
        where: what is wrong: an entry, a file, an argument, a place in the config.
        expected: what should have been there, without the word itself.
        got: what came instead, as a clause of its own: ``got 'x'``, ``there is no such file``.
        remedy: what to do.
    """

    def __init__(self, where: str, expected: str, got: str, remedy: str = "") -> None:
        super().__init__(where, expected, got, remedy)
        self.where, self.expected, self.got, self.remedy = where, expected, got, remedy

    def __str__(self) -> str:
        said = "; ".join(filter(None, (self.expected and f"expected {self.expected}", self.got, self.remedy)))
        return ": ".join(filter(None, (self.where, said)))

    def __reduce__(self) -> tuple[Any, ...]:
        # a copy is not made by the constructor, as Python would: that of a subclass may take something else
        return _bare, (type(self), self.args), self.__dict__

    def at(self, name: str) -> Self:
        """Return the same error with a name in front of where it is, unless that begins with it already."""
        named = copy.copy(self)
        named.__cause__ = self.__cause__
        if self.where != name and not self.where.startswith(f"{name}: "):
            named.where = f"{name}: {self.where}" if self.where else name
            named.args = (named.where, *self.args[1:])
        return named

    def to_json(self) -> dict[str, str]:
        """Return what the API's contract promises: the text, and its parts."""
        fields = {"where": self.where, "expected": self.expected, "got": self.got.removeprefix("got ")}
        return {"error": str(self), **fields, "remedy": self.remedy}


def _bare(kind: type[LineupError], args: tuple[str, ...]) -> LineupError:
    """Make an error without its fields, to be copied into."""
    return kind.__new__(kind, *args)


class ConfigError(LineupError):
    """The config cannot be used. Holds every problem, so that one run reports them all."""

    def __init__(self, *problems: str) -> None:
        super().__init__("", "", "\n".join(problems))
        self.problems = problems


class BackboneError(LineupError):
    """A backbone cannot be built or run, and asking again will not help."""


class ForwardTimeout(BackboneError):
    """A backbone has not answered in time; it may have finished later."""


class HubError(BackboneError):
    """A backbone's files could not be fetched; a later try may succeed."""


class UnreachableError(HubError):
    """The server with a backbone's files did not answer at all."""


class ImageError(LineupError):
    """An image cannot be read."""


class BusyError(LineupError):
    """More is being asked than can be answered now."""


class ClientDisconnected(LineupError):
    """Whoever asked has left: nobody reads this."""

    def __init__(self) -> None:
        super().__init__("", "", "nobody waits for this answer any more")


def did_you_mean(word: str, known: list[str]) -> str:
    """Return ``did you mean 'resnet50'?``, or nothing when no known word is near."""
    spelled = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.75)
    return f"{DID_YOU_MEAN} {spelled[near[0]]!r}?" if near else ""


def brief(exception: BaseException, most: int = 200, line: int | None = None) -> str:
    """Return somebody else's exception in one line: its text, or the name of its type where it has none.

    Args:
        exception: whatever a library raised.
        most: how many characters of it.
        line: which line of a longer text says it, such as 0 or -1; all of them, in one, if left out.
    """
    text = str(exception).strip()
    if line is not None and text:
        text = text.splitlines()[line]
    return " ".join(text.split())[:most] or type(exception).__name__

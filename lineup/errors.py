"""The errors whose text is meant for people.

Every text follows one form: *where: what was expected; what came; what to do.*
Each entry point translates them once: the page into a message, the command line
into ``error: …`` and exit status 2. Any other exception is a bug of ours and keeps
its traceback in the log.
"""

import difflib


class LineupError(Exception):
    """An error whose text is shown to the visitor as it stands."""


class ConfigError(LineupError):
    """The config cannot be used. Holds every problem, so that one run reports them all."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class BackboneError(LineupError):
    """A backbone cannot be built or run, and asking again will not help."""


class HangError(BackboneError):
    """A backbone has not answered in time; it may have finished later."""


class HubError(BackboneError):
    """A backbone's files could not be fetched; a later try may succeed."""


class UnreachableError(HubError):
    """The server with a backbone's files did not answer at all."""


class ImageError(LineupError):
    """An image cannot be read."""


class BusyError(LineupError):
    """More is being asked than can be answered now."""


class GoneError(LineupError):
    """Whoever asked has left: nobody reads this."""

    def __init__(self) -> None:
        super().__init__("nobody waits for this answer any more")


def did_you_mean(word: str, known: list[str]) -> str:
    """Return ``; did you mean 'resnet50'?``, or nothing when no known word is near."""
    spelled = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.75)
    return f"; did you mean {spelled[near[0]]!r}?" if near else ""

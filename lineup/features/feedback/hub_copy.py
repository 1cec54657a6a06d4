"""Copies a collection to a data set on the Hub, in the background, and takes over what other replicas put there."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lineup.config import Feedback
from lineup.errors import HubError
from lineup.features.feedback import records
from lineup.features.feedback.hub_download import download
from lineup.features.feedback.hub_exchange import Exchange
from lineup.features.feedback.records import Move
from lineup.features.feedback.remote import Remote
from lineup.hub import datasets
from lineup.hub.problems import ConflictError
from lineup.hub.scheduled_push import ScheduledPush

_log = logging.getLogger(__name__)

MAX_CONFLICTS = 5  # in a row, before the exchange is put off
TIME_TIMEOUT_S = 10.0
STOP_S = 8.0  # for a last push, of the seconds that the server has to stop


class HubCopy:
    """A copy of a collection in a data set.

    No method raises, and none waits for the Hub but `server_time` and those that take a timeout.

    Args:
        root: the collection's folder.
        settings: the section `feedback` of the config, whose target is a data set.
        clock: returns the time, in seconds since 1970.
    """

    def __init__(self, root: Path, settings: Feedback, clock: Callable[[], float] = time.time) -> None:
        self._root, self._settings, self._clock = root, settings, clock
        self._push = ScheduledPush(
            settings.repo,
            root,
            settings.private,
            includes=lambda name: name.startswith(f"{records.UNREVIEWED}/"),
            before=self._exchange,
        )
        self._lock = threading.Lock()  # guards the fields below
        self._gone = set[str]()  # unreviewed images that were deleted here
        self._wants_pull = False
        self._left_out = set[str]()  # images of the data set that are not what their names say
        self._exchanged: int | None = None  # the size of our decisions that the data set is known to have

    def wake(self) -> None:
        """Push what is new: at once the first time, and then every few minutes."""
        self._push.wake()

    @property
    def problem(self) -> str:
        """Return why the last push or pull failed, as a sentence; empty if it did not."""
        if not (error := self._push.error):
            return ""
        return f"feedback is kept on this machine only until it can be pushed, which is tried again: {error}"

    @property
    def n_unsent(self) -> int:
        """Return how many files are still to be pushed or deleted."""
        with self._lock:
            n_gone = len(self._gone)
        return len(self._push.files.unsent()) + n_gone

    def pull(self, timeout_s: float) -> bool:
        """Take over what other replicas have pushed, for a review, and return whether all of it arrived in time.

        What is left, also after a failure, follows in the background.
        """
        with self._lock:
            self._wants_pull = True
        is_done = self._push.attempt(timeout_s)
        with self._lock:
            return is_done and not self._wants_pull

    def apply(self, moves: Sequence[Move]) -> None:
        """Carry out what became of unreviewed images, after that was done in the folder."""
        with self._lock:
            self._gone.update(name for move in moves for name in move.deleted)
        self._push.wake(now=True)

    def server_time(self) -> float | None:
        """Return the time by the Hub's clock, which is asked for some seconds at most; None if it cannot be reached."""
        try:
            return datasets.server_time(self._settings.repo, TIME_TIMEOUT_S)
        except HubError:
            return None

    def flush(self, timeout_s: float) -> bool:
        """Push everything, and return whether that succeeded in time."""
        return self._push.flush(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Push what is left, and end the thread."""
        self._push.stop(timeout_s)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Push what an earlier start has left, and at the end of the block what is left then."""
        if self._push.files.unsent() or self._n_decided():
            self.wake()
        try:
            yield
        finally:
            self.stop(STOP_S)

    # --- on the thread of the pushes ---

    def _exchange(self) -> None:
        """Exchange decisions before files are pushed, if there are any, or another start may have left some."""
        n_decided = self._n_decided()
        with self._lock:
            gone, wants_pull = frozenset(self._gone), self._wants_pull
        is_needed = gone or wants_pull or n_decided != (self._exchanged or 0)
        if not is_needed and (self._exchanged is not None or not self._push.files.unsent()):
            return
        if gone or n_decided or self._push.files.unsent():
            self._push.open()
        has_more = False
        for n_left in reversed(range(MAX_CONFLICTS)):
            try:
                has_more = self._exchange_at_head(gone, wants_pull)
                break
            except ConflictError:  # another replica was faster
                if not n_left:
                    raise
        self._exchanged = n_decided
        with self._lock:
            self._gone -= gone
            self._wants_pull = has_more
        if has_more:
            self._push.wake(now=True)

    def _exchange_at_head(self, gone: frozenset[str], wants_pull: bool) -> bool:
        """Exchange with the newest commit, and return whether there is more to download."""
        if (head := datasets.head(self._settings.repo)) is None:  # nothing was pushed yet
            return False
        keep_s = self._settings.keep_days * 86_400.0
        remote = Remote(head)
        now_s = self._clock()
        exchange = Exchange(self._root, self._push.files, remote, keep_s, now_s)
        exchange.take_decisions()
        exchange.take_answers(everything=wants_pull)
        exchange.give_decisions(gone)
        has_more = wants_pull and download(self._root, remote, self._left_out, now_s)
        exchange.mark_sent()
        return has_more

    def _n_decided(self) -> int:
        try:
            return (self._root / records.REVIEWS).stat().st_size
        except OSError:
            return 0

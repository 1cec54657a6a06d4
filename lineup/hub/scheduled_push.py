"""Pushes a folder to a data set on the Hub again and again, on a thread of its own."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lineup.errors import LineupError, brief
from lineup.hub import uploads
from lineup.hub.changed_files import ChangedFiles
from lineup.hub.problems import is_transient, retry_after_s

_log = logging.getLogger(__name__)

EVERY_S = 300.0
FIRST_RETRY_S, MAX_RETRY_S = 2.0, 600.0  # doubled from one failure to the next
MAX_WAIT_S = 3600.0  # however long the Hub asks to wait
EXIT_S = 10.0  # for a push when the interpreter ends


class ScheduledPush:
    """Pushes the files of a folder that have changed to a data set, every few minutes and when it is stopped.

    All requests are sent on one thread, which starts with `wake`. A failure is kept in `error`, and the push repeated
    after a while; files that were pushed are not sent again. In a forked process, which has no such thread, nothing is
    pushed.

    Args:
        repo: owner/name of the data set, which is created when the first file is pushed.
        folder: its files have the same paths in the data set.
        private: create a private data set, and push to no other one.
        every_s: the time between two pushes.
        includes: whether a file is pushed, by its path in the folder.
        before: is called on the same thread before each push, and may raise a LineupError.
    """

    def __init__(
        self,
        repo: str,
        folder: Path,
        private: bool = True,
        every_s: float = EVERY_S,
        includes: Callable[[str], bool] = lambda _: True,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._repo, self._folder, self._private, self._every_s = repo, folder, private, every_s
        self._before, self.files = before, ChangedFiles(folder, includes)
        self._process = os.getpid()
        self._clock: uploads.PushClock | None = None
        self._changed = threading.Condition()  # guards the fields below
        self._thread: threading.Thread | None = None
        self._is_due = self._is_stopped = False
        self._asked = self._answered = 0  # requests of `attempt`
        self._not_before, self._retry_s = 0.0, FIRST_RETRY_S
        self._logged, self._is_transient = "", True
        self.error = ""

    def wake(self, now: bool = False) -> None:
        """Start the thread unless it runs, without waiting for it; it pushes at once, and then every few minutes.

        Args:
            now: push as soon as failures allow, if the thread runs already.
        """
        if self._is_forked:
            return
        with self._changed:
            if self._is_stopped:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"push {self._repo}", daemon=True)
                self._thread.start()
            if now or self._clock is None:  # until the first push, nothing else makes one due
                self._is_due = True
                self._changed.notify_all()

    def attempt(self, timeout_s: float) -> bool:
        """Push once, although an earlier failure is recent, and return whether it succeeded in time."""
        if self._is_forked:
            return False
        with self._changed:
            if self._is_stopped:
                return False
            self._asked += 1
            asked = self._asked
            self.wake(now=True)  # under the same lock, so that this is one push and not two
            ended = self._changed.wait_for(lambda: self._answered >= asked or self._is_stopped, timeout_s)
            return ended and self._answered >= asked and not self.error

    def flush(self, timeout_s: float) -> bool:
        """Push until everything is pushed, the time is over, or it is useless, and return whether everything is."""
        deadline = time.monotonic() + timeout_s
        if self._is_forked:
            return False
        with self._changed:
            self._retry_s = FIRST_RETRY_S
        while not (done := self.attempt(deadline - time.monotonic())):
            with self._changed:
                now = time.monotonic()
                if self._is_stopped or not self._is_transient or max(now, self._not_before) >= deadline:
                    return False
                self._changed.wait(max(0.0, self._not_before - now))
        return done

    def stop(self, timeout_s: float) -> None:
        """Push what is left, and end the thread; a request that has no answer by then ends with its own timeout."""
        deadline = time.monotonic() + timeout_s
        if self._is_forked or self._thread is None:
            self._is_stopped = True
            return
        self.flush(timeout_s)
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if self._clock:
            self._clock.stop()
        self._thread.join(max(0.0, deadline - time.monotonic()) + 0.1)
        if unsent := self.files.unsent():
            _log.error("%s: %d files were not pushed; %s", self._repo, len(unsent), self.error or "they came too late")

    @property
    def _is_forked(self) -> bool:
        return os.getpid() != self._process

    # --- on the thread ---

    def open(self) -> None:
        """Create the data set unless it exists; raise a HubRequestError if that fails, or if it should be private."""
        if not self._clock:
            self._clock = uploads.start_clock(
                self._repo, self._folder, self._private, self._every_s, self._report_due, lambda: self.flush(EXIT_S)
            )

    def _run(self) -> None:
        while (asked := self._next()) is not None:
            failed: LineupError | None = None
            try:
                self._push()
            except LineupError as error:
                failed = error
            except Exception as error:
                _log.exception("%s: pushing failed", self._repo)
                failed = LineupError(self._repo, "to push to it", brief(error), "see the log")
            self._ended(asked, failed)

    def _next(self) -> int | None:
        """Wait until a push is due, and return the number of requests that it answers; None when stopped."""
        with self._changed:
            while not self._is_stopped:
                wait_s = self._not_before - time.monotonic()
                if self._asked > self._answered or (self._is_due and wait_s <= 0):
                    self._is_due = False
                    return self._asked
                self._changed.wait(wait_s if self._is_due else None)
            return None

    def _ended(self, asked: int, failed: LineupError | None) -> None:
        kind = failed.got if failed else ""  # without the number of files, which is another one each time
        if failed and kind != self._logged:
            _log.warning("%s (it is tried again without being asked to)", failed)
        elif self._logged and not failed:
            _log.info("%s: pushing works again", self._repo)
        self._logged, self._is_transient = kind, not failed or is_transient(failed)
        with self._changed:
            self.error, self._answered = str(failed or ""), asked
            if failed:
                self._is_due = True
                wait_s = max(retry_after_s(failed), self._retry_s)
                self._not_before = time.monotonic() + min(wait_s, MAX_WAIT_S)
                self._retry_s = min(2 * self._retry_s, MAX_RETRY_S)
            else:
                self._not_before, self._retry_s = 0.0, FIRST_RETRY_S
            self._changed.notify_all()

    def _report_due(self) -> None:
        with self._changed:
            self._is_due = True
            self._changed.notify_all()

    def _push(self) -> None:
        self._before()
        names = self.files.unsent()
        if names:
            self.open()
        for batch in self.files.batches(names):
            if self._is_stopped:
                return
            with self.files.sending(batch) as contents:
                if contents:
                    message = f"Add {len(contents)} files"
                    uploads.commit(self._repo, "dataset", message, contents, command="try")

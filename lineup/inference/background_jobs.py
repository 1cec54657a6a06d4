"""Jobs of one kind that features run in threads of their own, beside the requests."""

import contextvars
import threading
from abc import ABC, abstractmethod
from pathlib import Path

from lineup.errors import BusyError
from lineup.inference.jobs import Job, Jobs, JobStatus


class BackgroundJobs(ABC):
    """The jobs of a kind, also those of earlier processes; a subclass creates them, and says what they do. Thread-safe.

    Args:
        kind: what they are, in the singular.
        jobs: keeps them.
    """

    def __init__(self, kind: str, jobs: Jobs) -> None:
        self._kind, self._jobs = kind, jobs
        self._threads, self._lock = list[threading.Thread](), threading.RLock()

    @property
    @abstractmethod
    def max_running(self) -> int:
        """How many may run at the same time in this process."""

    @abstractmethod
    def _work(self, job: Job) -> None:
        """Compute what is missing of a job."""

    def run(self, name: str) -> JobStatus:
        """Run or resume a job in this thread, and return its status once it has ended."""
        return self._jobs.run(name, self._work)

    def start(self, name: str) -> threading.Thread:
        """Run or resume a job in a thread, in the context of the current request: ZeroGPU reads its quota.

        Raises:
            LineupError: when it is running already.
            BusyError: when `max_running` others are.
        """
        context = contextvars.copy_context()
        with self._lock:  # else several starts at once would all find room
            self.check_room()
            thread = self._jobs.start(name, lambda job: context.run(self._work, job))
            self._threads.append(thread)
        return thread

    def check_room(self) -> None:
        """Raise BusyError when `max_running` jobs are running."""
        with self._lock:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            count = len(self._threads)
        if count >= self.max_running:
            got = f"{count} {self._kind}{'s are' if count > 1 else ' is'} running already"
            raise BusyError("busy", "", got, "try again in some minutes")

    def status(self, name: str) -> JobStatus:
        """Return what is known of a job; raise LineupError when there is none of that id."""
        return self._jobs.status(name)

    def cancel(self, name: str) -> None:
        """Stop a job after the current batch or fit; it can be resumed."""
        self._jobs.cancel(name)

    def delete(self, name: str) -> None:
        """Delete a job with its images; one that is running is cancelled."""
        self._jobs.delete(name)

    def delete_old(self) -> None:
        """Delete the jobs that are too old."""
        self._jobs.delete_old()

    def folder(self, name: str) -> Path:
        """Return the folder of a job."""
        return self._jobs.folder(name)

"""Threads of one request for answers that are computed at the same time."""

import contextvars
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from lineup.inference.pool import Pin
from lineup.inference.queue import Cancelled
from lineup.results import Answer

Call = Callable[[str, Pin], Answer]


class Lanes:
    """The answers of a request that other processes compute, each in a thread, beside those that are computed here.

    Those that are computed here take one thread, since the request has one image that is decoded and prepared for all;
    if nothing else runs, it is the caller's. To be used by one thread.

    Args:
        cancelled: the request's cancel flag.

    Attributes:
        running: the answers that have begun, by name.
    """

    def __init__(self, cancelled: Cancelled) -> None:
        self.running = dict[str, Future[Answer]]()
        self._flag, self._ended = cancelled, threading.Event()
        self._here: ThreadPoolExecutor | None = None
        self._elsewhere: ThreadPoolExecutor | None = None

    def cancelled(self) -> bool:
        """The cancel flag of the answers, which is set when the request ends, too."""
        return self._ended.is_set() or self._flag()

    def begin(self, ready: Mapping[str, Pin], call: Call, count: int) -> list[str]:
        """Begin answers of loaded backbones beside others, and return their names.

        Args:
            ready: the loaded backbones, also those that have begun.
            call: computes an answer.
            count: how many answers the request still waits for: a single one has no others beside it.
        """
        ready = {name: pin for name, pin in ready.items() if name not in self.running}
        elsewhere = [name for name, pin in ready.items() if _is_remote(pin)] if count > 1 else []
        for name in elsewhere:
            self._elsewhere = self._elsewhere or ThreadPoolExecutor(count, "remote answers")
            self.running[name] = self._submit(self._elsewhere, partial(call, name, ready[name]))
        here = [name for name in ready if name not in elsewhere] if self.running else []
        for name in here:
            self._here = self._here or ThreadPoolExecutor(1, "answers")
            self.running[name] = self._submit(self._here, partial(call, name, ready[name]))
        return [*elsewhere, *here]

    def _submit(self, threads: ThreadPoolExecutor, call: Callable[[], Answer]) -> Future[Answer]:
        # on ZeroGPU, the request that a GPU is asked for is a context variable
        return threads.submit(contextvars.copy_context().run, call)

    def end(self, pins: Mapping[str, Pin]) -> None:
        """Cancel what runs, and release its pins, and those of what has not begun, as soon as nothing uses them."""
        self._ended.set()
        for name, pin in pins.items():
            if name in self.running and not self.running[name].cancel():
                self.running[name].add_done_callback(lambda _, pin=pin: pin.release())  # type: ignore[misc]
            else:
                pin.release()
        for threads in filter(None, (self._here, self._elsewhere)):
            threads.shutdown(wait=False)


def _is_remote(pin: Pin) -> bool:
    load = pin.load
    return load.done() and load.exception() is None and load.result().remote is not None

"""The page's end of the cluster: starts a broker, sends it requests, and starts another one when it has ended."""

import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

from lineup.errors import ClientDisconnected, UnreachableError
from lineup.inference.cluster import connection, messages
from lineup.inference.cluster.messages import Ask, Reply, Request, State, What
from lineup.inference.queue import Cancelled

_log = logging.getLogger(__name__)

CONNECT_S = 60.0  # how long the first request waits for the connection; Ray's libraries take seconds to import
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)  # before another broker is started; the last one for ever
_POLL_S = 0.25  # how often a request checks its cancel flag
_GRACE_S = 5.0  # beyond a deadline, until the broker itself counts as gone
_ROOT = Path(__file__).parents[3]  # the folder that `lineup` is imported from
_BEGINNING = State(("cluster", "a connection", "it is being made", "try again in some seconds"))


class Link:
    """A connection to a cluster that is made by the first request, and made again when it is lost. Thread-safe.

    Requests fail at once while there is none: each would otherwise cost its client a timeout.

    Args:
        address: of the config.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()  # guards what follows, and writes to the socket
        self._waiting = dict[int, Future[Reply]]()
        self._numbers = itertools.count()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        self._known = threading.Event()  # set once it is known whether there is a cluster
        self._closed = threading.Event()
        self.state = _BEGINNING

    def start(self) -> None:
        """Begin to connect in the background, unless that has begun."""
        with self._lock:
            if not self._supervisor:
                connection.require_ray("cluster")
                self._supervisor = threading.Thread(target=self._supervise, name="cluster", daemon=True)
                self._supervisor.start()

    def require(self) -> None:
        """Wait until it is known whether the cluster can be asked.

        Raises:
            UnreachableError: when it cannot.
        """
        self.start()
        self._known.wait(CONNECT_S)
        if problem := self.problem:
            raise problem

    @property
    def problem(self) -> UnreachableError | None:
        """Return why the cluster cannot be asked now, or None."""
        return _unreachable(self.state)

    @property
    def notice(self) -> str:
        """Return why the cluster cannot be asked, for the owner; empty if it can, or nothing was to be asked yet."""
        return str(self.problem or "") if self._known.is_set() else ""

    def ask(self, what: What, ask: Ask, image: bytes, deadline_s: float, cancelled: Cancelled) -> Reply:
        """Send a request to a replica, and return the broker's reply.

        Raises:
            UnreachableError: when there is no connection, or it is lost.
            ClientDisconnected: when the request is cancelled.
        """
        self.require()
        return self._request(Request(next(self._numbers), what, ask, image, deadline_s), cancelled)

    def _request(self, request: Request, cancelled: Cancelled) -> Reply:
        future, until = Future[Reply](), time.monotonic() + request.deadline_s + _GRACE_S
        with self._lock:
            self._waiting[request.number] = future
        try:
            self._send(request)
            while True:
                try:
                    return future.result(_POLL_S)
                except FutureTimeout:
                    pass
                if cancelled():
                    self._send(Request(request.number, "cancel"))
                    raise ClientDisconnected
                if time.monotonic() > until:
                    return Reply(request.number, "late")
        finally:
            with self._lock:
                self._waiting.pop(request.number, None)

    def _send(self, request: Request) -> None:
        content = messages.packed(request)
        with self._lock:
            if not self._socket:
                raise self.problem or _lost()
            try:
                self._socket.sendall(content)
            except OSError:
                raise _lost() from None

    def _supervise(self) -> None:
        pauses = iter(PAUSES_S)
        while not self._closed.is_set():
            try:
                was_connected = self._run_broker()
            except Exception:
                _log.exception("the cluster's broker")
                was_connected = False
            self._known.set()
            if was_connected:
                pauses = iter(PAUSES_S)
            self._closed.wait(next(pauses, PAUSES_S[-1]))

    def _run_broker(self) -> bool:
        """Start a broker, and receive its messages until it ends; return whether it was connected to the cluster."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "lineup.inference.cluster.broker", self._address, str(theirs.fileno())]
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        output = None if _log.isEnabledFor(logging.DEBUG) else subprocess.DEVNULL
        with ours, theirs:
            process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Control+C ends the page, which may still answer its last requests
            )
            theirs.close()
            with self._lock:
                self._socket, self._process = ours, process
            try:
                return self._receive(ours)
            finally:
                self._lose()
                process.kill()
                process.wait()

    def _receive(self, ours: socket.socket) -> bool:
        was_connected = False
        with ours.makefile("rb") as stream:
            while len(header := stream.read(messages.HEADER_BYTES)) == messages.HEADER_BYTES:
                content = stream.read(messages.length(header))
                try:
                    message = messages.unpacked(content)
                except Exception:  # cut off, as the broker has ended
                    break
                if isinstance(message, State):
                    self._note(message)
                    was_connected = was_connected or not message.problem
                elif future := self._waiting.get(message.number):
                    future.set_result(message)
        return was_connected

    def _note(self, state: State) -> None:
        if state.problem != self.state.problem:
            problem = _unreachable(state)
            _log.log(logging.WARNING if problem else logging.INFO, "%s", problem or "the cluster answers")
        self.state = state
        self._known.set()

    def _lose(self) -> None:
        """Fail what waits for an answer."""
        with self._lock:
            self._socket = None
            if not self.state.problem or self.state is _BEGINNING:
                self._note(State(_lost().args))
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(_lost())

    def close(self) -> None:
        """End the broker; for tests, as it ends with this process."""
        self._closed.set()
        if self._process:
            self._process.kill()
        if self._supervisor:
            self._supervisor.join(10)


def _lost() -> UnreachableError:
    return UnreachableError(
        "cluster", "a connection to it", "it was lost, and is made again", "check it: python -m lineup cluster status"
    )


def _unreachable(state: State) -> UnreachableError | None:
    if not state.problem:
        return None
    where, expected, got, remedy = state.problem
    return UnreachableError(where, expected, got, remedy)

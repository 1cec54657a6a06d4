"""Sends images to a server that answers one POST each, from many connections or at a constant rate.

Neither generator is the bottleneck: wrk, in C, finds the highest rate, and its CPU time is measured; the one here, on
plain sockets in a process of its own, sends requests at given times, whether earlier ones are answered or not, and
counts refusals.

    python benchmarks/http_load.py http://127.0.0.1:7860/v1/models/a image/jpeg image.jpg --clients 200 --seconds 60
    python benchmarks/http_load.py http://127.0.0.1:7860/v1/models/a image/jpeg image.jpg --rate 20 --poisson
"""

import argparse
import asyncio
import json
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).parent
PAUSE_S = 0.5  # of a client after a refusal, whatever Retry-After says
TIMEOUT_S = 60  # of an answer; a request that takes longer is lost


@dataclass(frozen=True)
class Target:
    """Where images are posted, as the bodies of requests.

    Attributes:
        url: of the endpoint.
        content_type: of the bodies.
        bodies: files with them, which are sent in turn.
    """

    url: str
    content_type: str
    bodies: Sequence[Path]


@dataclass(frozen=True)
class Saturated:
    """What wrk reports of clients that each send the next request after an answer.

    Attributes:
        answers: the number of good answers.
        failed: the number of others, and of requests without one.
        seconds: how long it ran.
        cpu_s: the CPU time of wrk itself.
        p50_ms: the median latency.
        p99_ms: the 99th percentile of it.
    """

    answers: int
    failed: int
    seconds: float
    cpu_s: float
    p50_ms: float
    p99_ms: float

    @property
    def per_s(self) -> float:
        """The number of good answers in a second."""
        return self.answers / self.seconds

    def per_s_without_generator(self, cores: int) -> float:
        """Return the same of the seconds in which the generator left the cores to the server."""
        return self.answers / (self.seconds - self.cpu_s / cores)


def program() -> str:
    """Return the path of wrk.

    Raises:
        RuntimeError: when it is not installed.
    """
    if path := shutil.which("wrk"):
        return path
    raise RuntimeError("wrk: expected it on the path; got none; install it (apt-get install wrk)")


def saturated(target: Target, clients: int, seconds: float) -> Saturated:
    """Post images from a number of connections for some seconds."""
    options = ["-t1", f"-c{clients}", f"-d{seconds:g}s", f"--timeout={TIMEOUT_S}s", "-s", str(HERE / "http_load.lua")]
    command = [program(), *options, target.url, "--", target.content_type, *map(str, target.bodies)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if process.returncode or not lines:
        raise RuntimeError(f"wrk failed: {output[-300:]}")
    found = json.loads(lines[-1])
    failed = found["refused"] + found["lost"]
    return Saturated(
        answers=found["answers"] - found["refused"],
        failed=failed,
        seconds=found["seconds"],
        cpu_s=usage.ru_utime + usage.ru_stime,
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
    )


@dataclass
class Outcomes:
    """How requests ended: durations in seconds, and errors."""

    answered_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def add(self, status: int, seconds: float, body: bytes) -> None:
        """Count a response."""
        if status == 200:
            self.answered_s.append(seconds)
        elif status in (429, 503):
            self.refused_s.append(seconds)
        else:
            self.lost.append(f"{status} {body[:150]!r}")


class Connection:
    """A connection that is kept open as long as the server does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address, self._path = (parts.hostname or "127.0.0.1", parts.port or 80), parts.path or "/"
        self._socket: socket.socket | None = None

    async def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of the response to GET."""
        return await self._exchange(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    async def post(self, content_type: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of the response to POST."""
        head = f"POST {self._path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        return await self._exchange(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        reused = self._socket is not None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._once(request)
        except ConnectionError:
            self.close()
            if not reused:
                raise
        async with asyncio.timeout(TIMEOUT_S):  # the server had closed it meanwhile
            return await self._once(request)

    async def _once(self, request: bytes) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        if self._socket is None:
            self._socket = socket.socket()
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(self._socket, self._address)
        was_sent = True
        try:
            await loop.sock_sendall(self._socket, request)
        except (BrokenPipeError, ConnectionResetError):  # a refusal may come before the body is read
            was_sent = False
        status, headers, body = await self._response(loop, self._socket)
        if headers.get("connection", "").lower() == "close" or not was_sent:
            self.close()
        return status, body

    async def _response(self, loop: Any, connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            received += await self._more(loop, connection)
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "content-length" in headers:
            while len(body) < int(headers["content-length"]):
                body += await self._more(loop, connection)
        else:  # in chunks
            while not body.endswith(b"0\r\n\r\n"):
                body += await self._more(loop, connection)
        return int(first.split()[1]), headers, body

    async def _more(self, loop: Any, connection: socket.socket) -> bytes:
        if data := await loop.sock_recv(connection, 1 << 16):
            return bytes(data)
        raise ConnectionResetError("the server closed the connection")

    def close(self) -> None:
        """Close it; the next request opens another one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


async def crowd(target: Target, clients: int, seconds: float, pause_s: float = PAUSE_S) -> Outcomes:
    """Post images from clients that each send the next request after an answer, or a pause after a refusal."""
    outcomes, bodies, deadline = (
        Outcomes(),
        [path.read_bytes() for path in target.bodies],
        time.perf_counter() + seconds,
    )

    async def run_client(number: int) -> None:
        connection, at = Connection(target.url), number
        while time.perf_counter() < deadline:
            refused = len(outcomes.refused_s)
            await _post(connection, target, bodies[at % len(bodies)], time.perf_counter(), outcomes)
            at += 1
            if len(outcomes.refused_s) > refused:
                await asyncio.sleep(pause_s)
        connection.close()

    await asyncio.gather(*map(run_client, range(clients)))
    return outcomes


async def at_rate(target: Target, rate: float, seconds: float, poisson: bool) -> Outcomes:
    """Post images at a constant rate, each on a connection that is free; latencies begin when a request was due.

    Arrivals are evenly spaced, or those of a Poisson process with a fixed seed.
    """
    outcomes, bodies, rng = Outcomes(), [path.read_bytes() for path in target.bodies], random.Random(0)
    free, running, started, due_s, number = list[Connection](), set[asyncio.Task[None]](), time.perf_counter(), 0.0, 0

    async def send(body: bytes, due: float) -> None:
        connection = free.pop() if free else Connection(target.url)
        await _post(connection, target, body, due, outcomes)
        free.append(connection)

    while due_s < seconds:
        await asyncio.sleep(max(0.0, started + due_s - time.perf_counter()))
        task = asyncio.create_task(send(bodies[number % len(bodies)], started + due_s))
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
        due_s += rng.expovariate(rate) if poisson else 1 / rate
    await asyncio.gather(*running)
    for connection in free:
        connection.close()
    return outcomes


async def _post(connection: Connection, target: Target, body: bytes, due: float, outcomes: Outcomes) -> None:
    try:
        status, answer = await connection.post(target.content_type, body)
        outcomes.add(status, time.perf_counter() - due, answer)
    except (OSError, TimeoutError) as error:
        connection.close()
        outcomes.lost.append(f"{type(error).__name__}: {error}"[:150])


async def polled(url: str, path: str, seconds: float, every_s: float = 0.1) -> Outcomes:
    """Get a path again and again, such as that of the health check."""
    outcomes, deadline, connection = Outcomes(), time.perf_counter() + seconds, Connection(url)
    while (started := time.perf_counter()) < deadline:
        try:
            status, body = await connection.get(path)
            outcomes.add(status, time.perf_counter() - started, body)
        except (OSError, TimeoutError) as error:
            connection.close()
            outcomes.lost.append(f"{type(error).__name__}: {error}"[:150])
        await asyncio.sleep(every_s)
    connection.close()
    return outcomes


def in_a_process(target: Target, seconds: float, *options: object) -> "subprocess.Popen[str]":
    """Begin to run this file with options; `outcomes_of` waits for its end."""
    command = [sys.executable, __file__, target.url, target.content_type, *map(str, target.bodies)]
    command += ["--seconds", str(seconds), *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def outcomes_of(process: "subprocess.Popen[str]") -> Outcomes:
    """Wait until a process of `in_a_process` ends, and return its outcomes."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load generator failed with {process.returncode}")
    return Outcomes(**json.loads(output.splitlines()[-1]))


def percentile(times: Sequence[float], share: float) -> float:
    """Return the smallest of the times that at least a share of them does not exceed; infinity if there are none."""
    ordered = sorted(times)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.inf


def main() -> None:
    """Print the outcomes as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("content_type")
    parser.add_argument("bodies", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--clients", type=int, help="each sends the next request after an answer")
    kind.add_argument("--rate", type=float, help="requests in a second, whether earlier ones are answered or not")
    kind.add_argument("--get", metavar="PATH", help="get this path ten times a second instead")
    parser.add_argument("--poisson", action="store_true", help="random arrivals instead of evenly spaced ones")
    arguments = parser.parse_args()
    target = Target(arguments.url, arguments.content_type, arguments.bodies)
    if arguments.get:
        run: Any = polled(arguments.url, arguments.get, arguments.seconds)
    elif arguments.clients:
        run = crowd(target, arguments.clients, arguments.seconds)
    else:
        run = at_rate(target, arguments.rate, arguments.seconds, arguments.poisson)
    print(json.dumps(asdict(asyncio.run(run))))


if __name__ == "__main__":
    main()

"""Sends requests to another Lineup's HTTP API: on one event loop, so that a cancelled one closes its connection."""

import asyncio
import functools
import ipaddress
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from lineup.config import Limits
from lineup.config.lineup_address import LineupAddress
from lineup.errors import (
    BackboneError,
    BusyError,
    ClientDisconnected,
    ForwardTimeout,
    HubError,
    ImageError,
    LineupError,
    UnreachableError,
    brief,
)
from lineup.hub import via

KEY = "LINEUP_REMOTE_KEY"  # the environment variable
DETAILS = "application/vnd.lineup+json"
MAX_BYTES = 64 << 20  # of a response: 100,000 classes
_POLL_S = 0.1  # how often a request checks its cancel flag
_ATTEMPTS, _BACK_OFF_S, _MAX_BACK_OFF_S = 3, 0.25, 4.0  # of failed connections · before the second, and at most
_RETRIED = {429, 503}
_KINDS: dict[int, type[LineupError]] = {404: HubError, 429: BusyError, 503: BusyError, 504: ForwardTimeout}
_FAILED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)


class LineupClient:
    """Asks for one backbone of another Lineup. Thread-safe.

    Args:
        address: the server and the name of the backbone there.
        limits: returns the limits of the config.
    """

    def __init__(self, address: LineupAddress, limits: Callable[[], Limits]) -> None:
        self.address, self._limits = address, limits
        self._path = f"{address.server}/v1/models/{quote(address.name, safe='')}"

    def get(self) -> httpx2.Response:
        """Return the description of the backbone, as it is answered.

        Raises:
            LineupError: when there is none, or the server does not respond.
        """
        deadline = time.monotonic() + self._limits().hub_timeout_s
        try:
            return self._call(functools.partial(self._send, "GET", "", {}, b"", deadline), lambda: False)
        except TimeoutError:
            raise self.unreachable("the request timed out") from None

    def post(self, suffix: str, content: bytes, headers: Mapping[str, str], cancelled: Callable[[], bool]) -> Any:
        """Return the response to an image.

        Args:
            suffix: the rest of the path, and the query.
            content: the image file.
            headers: more headers.
            cancelled: the request's cancel flag.

        Raises:
            LineupError: as `RemoteBackbone.output` does.
        """
        timeout_s = self._limits().forward_timeout_s
        deadline = time.monotonic() + timeout_s
        sent = {"Content-Type": "application/octet-stream", **headers}
        try:
            return self._call(functools.partial(self._send, "POST", suffix, sent, content, deadline), cancelled)
        except TimeoutError:
            expected, remedy = f"an answer within {timeout_s:g} s", "try again later: it may be loading there"
            raise ForwardTimeout(str(self.address), expected, "there was none", remedy) from None

    def unreachable(self, got: str) -> UnreachableError:
        """Return the error for a server that does not respond."""
        remedy = f"check that Lineup runs at {self.address.server}, and the network; it is asked again later"
        return UnreachableError(str(self.address), "a response", got, remedy)

    def broken(self, got: str, remedy: str = "update the Lineup there, or this one") -> BackboneError:
        """Return the error for a response that is none of a Lineup."""
        return BackboneError(str(self.address), "the answer of a Lineup", got, remedy)

    def _call(self, send: Callable[[str], Any], cancelled: Callable[[], bool]) -> Any:
        """Return the result of a coroutine on the event loop, and cancel it when the request is."""
        running = asyncio.run_coroutine_threadsafe(send(via.header()), _loop())
        done = threading.Event()
        running.add_done_callback(lambda _: done.set())
        while not done.wait(_POLL_S):
            if cancelled():
                running.cancel()
                raise ClientDisconnected
        try:
            return running.result()
        except CancelledError:
            raise ClientDisconnected from None

    async def _send(
        self, method: str, suffix: str, headers: Mapping[str, str], content: bytes, deadline: float, passed: str
    ) -> httpx2.Response:
        """Return a successful response; retry what may succeed before the deadline, on the clock of `time.monotonic`.

        Raises:
            TimeoutError: at the deadline.
            LineupError: for any other response.
        """
        sent = {"Accept": DETAILS, via.HEADER: passed, **_authorization(self.address.server), **headers}
        attempt = 0
        while True:
            attempt += 1
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    response = await self._respond(method, f"{self._path}{suffix}", sent, content)
            except _FAILED as error:
                if attempt == _ATTEMPTS:
                    raise self.unreachable(f"there was none ({brief(error)})") from error
                wait_s = 0.0
            except httpx2.TimeoutException as error:
                raise self.unreachable("the connection timed out") from error
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise self.unreachable(f"the request failed ({brief(error)})") from error
            else:
                if response.is_success:
                    return response
                wait_s = _retry_after_s(response)
                if response.status_code not in _RETRIED or time.monotonic() + wait_s >= deadline:
                    raise self._error(response)
            back_off_s = min(_MAX_BACK_OFF_S, _BACK_OFF_S * 2**attempt) * random.uniform(0.5, 1)
            await asyncio.sleep(max(wait_s, min(back_off_s, deadline - time.monotonic())))

    async def _respond(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> httpx2.Response:
        """Return a response with its whole body, which is bounded."""
        client, connect_s = _client(self.address.server), self._limits().hub_timeout_s
        timeout = httpx2.Timeout(None, connect=connect_s)
        request = client.build_request(method, url, headers=headers, content=content or None, timeout=timeout)
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise self.broken(f"it is longer than {MAX_BYTES >> 20} MB")
        finally:
            await response.aclose()
        kept = {name: value for name, value in response.headers.items() if name != "content-encoding"}
        return httpx2.Response(response.status_code, headers=kept, content=bytes(body), request=request)

    def _error(self, response: httpx2.Response) -> LineupError:
        """Return the error that a response means, with the address in front."""
        status = response.status_code
        if 300 <= status < 400:
            target = urlsplit(response.headers.get("location", ""))
            got = f"it redirects to {target.netloc[:100] or 'another path'} ({status}), which is not followed"
            return self.broken(got, "write the address that it redirects to")
        if status in (401, 403):
            return self._refused(status)
        if status == 412:
            got = "it has changed there"
            return HubError(str(self.address), "the backbone as it was", got, "try again in some seconds")
        try:
            problem = response.json()
        except (ValueError, RecursionError):
            problem = None
        if _parts(problem) is None:
            got = f"got the status {status}, without a reason"
            if status >= 500:
                return self.unreachable(got)
            return self.broken(got, "check the address; the Lineup there may have `rest: {enabled: false}`")
        of_image = response.request.method == "POST" and status in (413, 422)
        return self.problem(problem, ImageError if of_image else _KINDS.get(status, BackboneError))

    def problem(self, problem: Any, kind: type[LineupError] | None = None) -> LineupError:
        """Return the error that problem details mean.

        Args:
            problem: the details, as JSON.
            kind: its type; by default that of the status in them.
        """
        parts = _parts(problem)
        if parts is None:
            return self.broken("got a problem that cannot be read")
        where, expected, got, remedy = parts
        where = f"{self.address}: {where}" if where not in ("", self.address.name) else str(self.address)
        status = problem.get("status")
        kind = kind or (_KINDS.get(status, BackboneError) if isinstance(status, int) else BackboneError)
        return kind(where, expected, got, remedy)

    def _refused(self, status: int) -> BackboneError:
        expected = f"a key that {self.address.host} accepts"
        if not may_have_key(self.address.server):
            return BackboneError(str(self.address), expected, f"none is sent over http ({status})", "write https://")
        got = f"the one in {KEY} is refused" if os.environ.get(KEY) else f"{KEY} is not set"
        remedy = f"ask its owner for one, and set {KEY} in the environment"
        return BackboneError(str(self.address), expected, f"{got} ({status})", remedy)


def may_have_key(server: str) -> bool:
    """Tell whether a key may be sent to a server: only where the connection is encrypted, or stays on this machine."""
    url = urlsplit(server)
    return url.scheme == "https" or is_loopback(url.hostname or "")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _authorization(server: str) -> dict[str, str]:
    key = os.environ.get(KEY, "").strip()
    return {"Authorization": f"Bearer {key}"} if key and may_have_key(server) else {}


def _retry_after_s(response: httpx2.Response) -> float:
    asked = re.fullmatch(r"[0-9]{1,6}", response.headers.get("retry-after", ""))
    return float(asked[0]) if asked else 0.0


def _parts(problem: Any) -> tuple[str, str, str, str] | None:
    """Return the parts of problem details: where, expected, got, and remedy; None if it has none."""
    try:
        texts = [_line(problem[name]) for name in ("where", "expected", "got", "remedy", "detail")]
    except (KeyError, TypeError):
        return None
    where, expected, got, remedy, detail = texts
    got = f"got {got}" if f"got {got}" in detail else got  # which the member lacks
    return where, expected, got, remedy


def _line(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError
    return " ".join(text.split())[:500]


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="other Lineups", daemon=True).start()
    return loop


@functools.cache
def _client(server: str) -> httpx2.AsyncClient:
    """Return the connections to a server, which are kept open; used on the event loop."""
    return httpx2.AsyncClient(headers={"User-Agent": "lineup"})

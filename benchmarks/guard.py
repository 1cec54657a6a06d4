"""Measures the CPU time that the guard of /v1 takes for a request: keys, rate limit, addresses, origins.

    python benchmarks/guard.py              # prints microseconds a request, the median of 15 blocks of each kind
    python benchmarks/guard.py --requests 5000

The app behind the guard answers at once with a small JSON body. Its own time is measured too, and subtracted; blocks of
all kinds take turns.
"""

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lineup.config.proxies import LOOPBACK
from lineup.config.sections import Rest
from lineup.features.rest.guard import GuardMiddleware
from lineup.features.rest.keys import Keys
from lineup.page.client_address import Proxies

BLOCKS = 15
N_ADDRESSES = 1000  # of clients, each with a window of its own
LIMIT = "1000000/minute"
KEYS = ",".join(f"key-{number}-of-a-client" for number in range(3))
REQUEST = [
    (b"host", b"127.0.0.1:7860"),
    (b"user-agent", b"curl/8.5.0"),
    (b"accept", b"*/*"),
    (b"content-type", b"image/jpeg"),
    (b"content-length", b"65536"),
]
KEY = (b"authorization", b"Bearer key-2-of-a-client")
PROXIED = "127.0.0.1"


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse([{"label": "koala", "score": 0.9871, "id": "n01882714"}])(scope, receive, send)


async def _receive() -> Message:
    return {"type": "http.disconnect"}


async def _send(message: Message) -> None:
    pass


def guarded(keys: str = "", limit: str = "") -> ASGIApp:
    """Return the app behind the guard."""
    return GuardMiddleware(_answer, Rest(rate_limit=limit), Keys(keys), Proxies(LOOPBACK))


def scope_of(number: int, with_key: bool, forwarded: bool) -> Scope:
    """Return a request from one of many addresses, which a proxy has forwarded or not."""
    address = f"198.51.{number // 250 % 250}.{number % 250}"
    headers = [*REQUEST, *([KEY] if with_key else [])]
    if forwarded:
        headers.append((b"x-forwarded-for", f"203.0.113.9, {address}".encode()))
    client = (PROXIED if forwarded else address, 5000)
    path = "/v1/models/resnet18"
    return {"type": "http", "method": "POST", "path": path, "headers": headers, "client": client, "query_string": b""}


async def microseconds(app: ASGIApp, scopes: list[Scope], requests: int) -> float:
    """Return the CPU time of a request, the mean of a block of them."""
    started = time.process_time()
    for number in range(requests):
        await app(dict(scopes[number % len(scopes)]), _receive, _send)
    return (time.process_time() - started) / requests * 1e6


async def measured(requests: int) -> dict[str, float]:
    """Return the microseconds that the guard takes for a request, by what it is asked to do."""
    cases: dict[str, tuple[ASGIApp, bool, bool]] = {
        "": (_answer, False, False),
        "neither keys nor a limit": (guarded(), False, False),
        "3 keys": (guarded(KEYS), True, False),
        "a limit, 1000 addresses": (guarded(limit=LIMIT), False, False),
        "a limit, 1000 addresses behind a trusted proxy": (guarded(limit=LIMIT), False, True),
        "3 keys and a limit": (guarded(KEYS, LIMIT), True, False),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for block in range(BLOCKS + 1):
        for name, (app, with_key, forwarded) in cases.items():
            scopes = [scope_of(number, with_key, forwarded) for number in range(N_ADDRESSES)]
            found = await microseconds(app, scopes, requests)
            if block:  # the first is a warm-up
                times[name].append(found)
    alone = times.pop("")
    return {name: statistics.median(map(float.__sub__, found, alone)) for name, found in times.items()}


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000, help="in a block (default: 2000)")
    for name, found in asyncio.run(measured(parser.parse_args().requests)).items():
        print(f"{found:6.1f} µs  {name}")


if __name__ == "__main__":
    main()

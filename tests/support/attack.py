"""Sends hostile payloads to a page of its own, in this process and over HTTP, and tells what came of them.

with page(folder) as served, served.watching() as seen:
    ends = asyncio.run(inside(served, count=2000, seed=1))
"""

import asyncio
import http.client
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from drawing import draw
from hostile import Aims, Request, aim, arguments, event_data, query, requests
from serving import ROOT, free_port

LISTENS_S = 60.0  # the longest that an answer may take


NAMES = ("efficientnet_lite0", "efficientnet_lite2")


# --- what is touched ---


@dataclass
class Seen:
    """What went wrong while payloads ran."""

    opened: Counter[str] = field(default_factory=Counter)  # files outside of what is allowed
    asked: Counter[str] = field(default_factory=Counter)  # other hosts
    leaked: Counter[str] = field(default_factory=Counter)  # what no check had kept from the network

    def to_json(self) -> dict[str, dict[str, int]]:
        """Return all of it."""
        return {"opened": self.opened, "asked": self.asked, "leaked": self.leaked}


_watches: list[tuple[tuple[str, ...], Seen]] = []


@contextmanager
def watching(*folders: Path | str) -> Iterator[Seen]:
    """Note each file that is opened outside of some folders, by whatever code and thread, and each other host."""
    if _audit not in _hooked:
        sys.addaudithook(_audit)  # for good: a hook cannot be taken away
        _hooked.append(_audit)
    watch = tuple(os.path.realpath(folder) for folder in folders), Seen()
    _watches.append(watch)
    try:
        yield watch[1]
    finally:
        _watches.remove(watch)


def _audit(event: str, details: tuple[Any, ...]) -> None:
    if not _watches:
        return
    if event == "open" and isinstance(details[0], str | bytes):
        path = Path(os.path.realpath(os.fsdecode(details[0])))
        for allowed, seen in _watches:
            if str(path) != os.devnull and not any(path.is_relative_to(folder) for folder in allowed):
                seen.opened[str(path)] += 1
    elif event in ("socket.connect", "socket.getaddrinfo"):
        host = details[0] if event == "socket.getaddrinfo" else details[1][0]
        if host not in ("127.0.0.1", "localhost", "::1"):
            for _, seen in _watches:
                seen.asked[str(host)] += 1


_hooked: list[Any] = []


@dataclass
class Page:
    """A page that is served in this process, and what the payloads are after."""

    service: Any
    demo: Any
    host: str
    aims: Aims

    @property
    def functions(self) -> list[Any]:
        """Return Gradio's functions that run on the server, public and private."""
        return [each for each in self.demo.fns.values() if each.fn is not None]

    @contextmanager
    def watching(self) -> Iterator[Seen]:
        """Note what is touched, and what reaches the network that should not."""
        from gradio.utils import get_upload_folder

        from lineup.inference import preprocessing

        uploads = Path(os.path.realpath(get_upload_folder()))
        opened, answered = preprocessing.open_image, self.service._answer

        def open_image(path: Any, *more: Any, **options: Any) -> Any:
            if not Path(os.path.realpath(path)).is_relative_to(uploads):
                seen.leaked[f"path {path}"] += 1
            return opened(path, *more, **options)

        def answer(name: Any, loaded: Any, sitting: Any, top_k: Any, keep: Any) -> Any:
            if name not in NAMES:
                seen.leaked[f"backbone {name!r}"] += 1
            if type(top_k) is not int or not 1 <= top_k <= 100_000:
                seen.leaked[f"top_k {top_k!r}"] += 1
            return answered(name, loaded, sitting, top_k, keep)

        caches = [os.environ[key] for key in ("HF_HOME", "TORCH_HOME", "LINEUP_CACHE") if key in os.environ]
        with watching(ROOT, uploads, sys.prefix, sys.base_prefix, *caches) as seen:
            preprocessing.open_image, self.service._answer = open_image, answer
            try:
                yield seen
            finally:
                preprocessing.open_image, self.service._answer = opened, answered


@contextmanager
def page(folder: Path) -> Iterator[Page]:
    """Serve the two bundled backbones and the examples in this process; the secret lies in a folder."""
    import app  # isort: skip  (it sets what gradio and huggingface_hub read when they are imported)
    from gradio.utils import get_upload_folder

    from lineup import config
    from lineup.config import yaml_source
    from lineup.service import Service

    entries = ", ".join(f"{{name: {name}, backbone: 'local-dir:bundled/{name}'}}" for name in NAMES)
    text = f"engine: torch\nlimits: {{max_upload_mb: 1}}\nexamples: examples\nbackbones: [{entries}]"
    service = Service(config.build(yaml_source.parse(text, "config.yaml"), ROOT))
    demo, _ = app.launch(service, free_port())
    try:
        assert service.probed.wait(60)
        image = draw(folder / "image.jpg").read_bytes()
        for name in NAMES:
            service.classify(folder / "image.jpg", name)  # all is imported, all is loaded
        aims = aim(Path(get_upload_folder()), folder, image, NAMES)
        yield Page(service, demo, f"127.0.0.1:{demo.server_port}", aims)
    finally:
        demo.close(verbose=False)


# --- in this process ---


@dataclass
class Ends:
    """How payloads ended."""

    answered: int = 0
    refused: int = 0  # with words
    busy: int = 0
    wordless: Counter[str] = field(default_factory=Counter)  # refused with nothing that could be read
    wrong: Counter[str] = field(default_factory=Counter)  # a traceback, a status of 500, a word of the secret, silence

    def to_json(self) -> dict[str, Any]:
        """Return all of it, and how many there were."""
        total = self.answered + self.refused + self.busy + self.wordless.total() + self.wrong.total()
        return {**vars(self), "total": total}


async def inside(page: Page, count: int, seed: int) -> Ends:
    """Call the functions behind the endpoints, public and private, as Gradio does, with hostile arguments."""
    import gradio as gr
    from gradio.state_holder import SessionState

    chance, ends, aims = random.Random(seed), Ends(), page.aims
    slow = {each.name: each for each in page.functions if each.name in ("open_page", "measure_line_up")}
    quick = [each for each in page.functions if each.name not in slow]
    for number in range(count):
        function = slow["measure_line_up"] if number % 100 == 60 else chance.choice(quick)
        if number % 40 == 0:  # somebody else opens the page; what he does there goes into what comes after
            state, function = SessionState(page.demo), slow["open_page"]
        values, clicked = arguments(chance, aims, function), event_data(chance, aims)
        asked = _request(query(chance, aims))
        name = function.api_name or function.name
        try:
            await asyncio.wait_for(_called(page.demo, function, values, clicked, state, asked), LISTENS_S)
            ends.answered += 1
        except gr.Error as error:
            if str(error.message).strip():
                ends.refused += 1
            else:
                ends.wordless[f"{name}: nothing"] += 1
        except Exception as error:  # its text is kept from the client: he reads nothing
            ends.wordless[f"{name}: {type(error).__name__}: {str(error)[:150]}"] += 1
    return ends


async def _called(demo: Any, function: Any, values: list[Any], clicked: Any, state: Any, asked: Any) -> None:
    from gradio.events import EventData

    event, iterator = EventData(None, clicked), None
    while True:
        output = await demo.process_api(
            function, values, state=state, request=asked, iterator=iterator, event_data=event
        )
        iterator = output.get("iterator")
        if not output.get("is_generating"):
            return


def _request(query: str) -> Any:
    import gradio as gr
    from starlette.requests import Request

    scope = {"type": "http", "method": "POST", "path": "/", "scheme": "http", "server": ("127.0.0.1", 80)}
    scope |= {"query_string": query.encode(), "headers": [(b"host", b"127.0.0.1")]}
    return gr.Request(Request(scope), session_hash="hostile")


# --- over HTTP ---


def over_http(page: Page, count: int, seed: int) -> Ends:
    """Send hostile requests to a page, four at a time."""
    ends = Ends()
    with ThreadPoolExecutor(4) as threads:
        sent = islice(requests(page.aims, page.functions, seed), count)
        for request, (kind, told) in threads.map(lambda each: (each, end(page.host, each)), sent):
            where = f"{request.method} {request.path[:60]}"
            if kind in ("wordless", "wrong"):
                getattr(ends, kind)[f"{where} {request.body[:150]!r}: {told[:200]}"] += 1
            else:
                setattr(ends, kind, getattr(ends, kind) + 1)
            if page.aims.word in told or "root:x:" in told:
                ends.wrong[f"{where}: tells a secret"] += 1
    return ends


def end(host: str, request: Request) -> tuple[str, str]:
    """Return which kind of end a request came to, and all that was said."""
    try:
        status, text = exchange(host, request)
        if status == 200 and request.listen and "event_id" in text:
            path = request.listen.format(event=json.loads(text)["event_id"])
            _, text = exchange(host, Request("GET", path))
            return _heard(text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return "wrong", f"{type(error).__name__}: {error}"
    if status == 503:
        return "busy", text
    if status >= 500 or "Traceback" in text:
        return "wrong", f"{status} {text}"
    if status >= 400 or "event: error" in text or "unexpected_error" in text:
        return ("refused" if text.strip() or request.method == "HEAD" else "wordless"), text
    return ("refused" if '"isError":true' in text or '"error"' in text else "answered"), text


def _heard(text: str) -> tuple[str, str]:
    """Return what a stream of events ended with: an answer, a sentence, or an error that says nothing."""
    pieces = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    found = [json.loads(piece) for piece in pieces]
    kinds = [line.removeprefix("event: ") for line in text.split("\n") if line.startswith("event: ")]
    if kinds:  # as the simple endpoints tell it
        failed, told = kinds[-1] == "error", found[-1]
    else:
        ended = [each for each in found if each.get("msg") in ("process_completed", "unexpected_error")]
        if not ended:
            return "wrong", f"no end: {text[-300:]}"
        failed, told = not ended[0].get("success", False), ended[0].get("output") or ended[0].get("message")
    if not failed:
        return "answered", text
    words = told.get("error") if isinstance(told, dict) else told
    return ("refused" if words and str(words).strip() else "wordless"), text


def exchange(host: str, request: Request) -> tuple[int, str]:
    """Return the status and the text of an answer, or what of it has come in time."""
    connection = http.client.HTTPConnection(host, timeout=LISTENS_S)
    try:
        connection.putrequest(request.method, request.path)
        for key, text in {**request.headers, "Content-Length": str(len(request.body))}.items():
            connection.putheader(key, text.encode("latin-1", "replace"))
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent: the answer is there
            connection.endheaders(request.body)
        answer = connection.getresponse()
        text, until = b"", time.monotonic() + LISTENS_S
        while time.monotonic() < until and len(text) < 10**7:
            try:
                piece = answer.read1(1 << 16)
            except http.client.IncompleteRead:  # so Gradio ends a stream after it has said that nobody is known there
                break
            if not piece:
                break
            text += piece
        return answer.status, text.decode(errors="replace")
    finally:
        connection.close()

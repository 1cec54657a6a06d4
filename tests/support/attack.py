"""Send hostile payloads to a page, in this process and over HTTP, and count the outcomes.

with page(folder) as served, served.watching() as violations:
    outcomes = asyncio.run(in_process(served, count=2000, seed=1))
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
from hostile import Request, Targets, arguments, create_targets, event_data, query, requests
from serving import ROOT, free_port

TIMEOUT_S = 60.0  # timeout of an answer


NAMES = ("efficientnet_lite0", "efficientnet_lite2")


# --- access to files and hosts ---


@dataclass
class Violations:
    """Forbidden accesses while payloads ran."""

    files: Counter[str] = field(default_factory=Counter)  # files outside the allowed folders
    hosts: Counter[str] = field(default_factory=Counter)  # other hosts
    invalid_arguments: Counter[str] = field(default_factory=Counter)  # invalid arguments that reached the inference

    def to_json(self) -> dict[str, dict[str, int]]:
        """Return all counters."""
        return {"files": self.files, "hosts": self.hosts, "invalid_arguments": self.invalid_arguments}


_watches: list[tuple[tuple[str, ...], Violations]] = []


@contextmanager
def watching(*folders: Path | str) -> Iterator[Violations]:
    """Record, process-wide, every file opened outside some folders, and every connection to another host."""
    if _audit not in _hooked:
        sys.addaudithook(_audit)  # permanent: audit hooks cannot be removed
        _hooked.append(_audit)
    watch = tuple(os.path.realpath(folder) for folder in folders), Violations()
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
        for allowed, violations in _watches:
            if str(path) != os.devnull and not any(path.is_relative_to(folder) for folder in allowed):
                violations.files[str(path)] += 1
    elif event in ("socket.connect", "socket.getaddrinfo"):
        host = details[0] if event == "socket.getaddrinfo" else details[1][0]
        if host not in ("127.0.0.1", "localhost", "::1"):
            for _, violations in _watches:
                violations.hosts[str(host)] += 1


_hooked: list[Any] = []


@dataclass
class Page:
    """A page served in this process, and the targets of the payloads."""

    service: Any
    demo: Any
    slots: Any
    host: str
    targets: Targets

    @property
    def functions(self) -> list[Any]:
        """Return Gradio's functions that run on the server, public and private."""
        return [function for function in self.demo.fns.values() if function.fn is not None]

    @contextmanager
    def watching(self) -> Iterator[Violations]:
        """Record forbidden accesses, and invalid arguments that reach the inference."""
        from gradio.utils import get_upload_folder

        from lineup.images.image_bytes import ImageBytes
        from lineup.inference import preprocessing

        uploads = Path(os.path.realpath(get_upload_folder()))
        opened, answered = preprocessing.open_image, self.service._classifier.answer

        def open_image(path: Any, *more: Any, **options: Any) -> Any:
            if not isinstance(path, ImageBytes) and not Path(os.path.realpath(path)).is_relative_to(uploads):
                violations.invalid_arguments[f"path {path}"] += 1
            return opened(path, *more, **options)

        def answer(name: Any, loaded: Any, prepared: Any, options: Any) -> Any:
            if name not in NAMES:
                violations.invalid_arguments[f"backbone {name!r}"] += 1
            if type(options.top_k) is not int or not 1 <= options.top_k <= 100_000:
                violations.invalid_arguments[f"top_k {options.top_k!r}"] += 1
            return answered(name, loaded, prepared, options)

        caches = [os.environ[key] for key in ("HF_HOME", "TORCH_HOME", "LINEUP_CACHE") if key in os.environ]
        with watching(ROOT, uploads, sys.prefix, sys.base_prefix, *caches) as violations:
            preprocessing.open_image, self.service._classifier.answer = open_image, answer
            try:
                yield violations
            finally:
                preprocessing.open_image, self.service._classifier.answer = opened, answered


@contextmanager
def page(folder: Path) -> Iterator[Page]:
    """Serve the two bundled backbones and the examples in this process, with the secret in a folder."""
    import app  # isort: skip  (sets environment variables that gradio and huggingface_hub read on import)
    from gradio.utils import get_upload_folder

    from lineup import config
    from lineup.config import yaml_source
    from lineup.service import Service

    entries = ", ".join(f"{{name: {name}, backbone: 'local-dir:bundled/{name}'}}" for name in NAMES)
    text = f"engine: torch\nlimits: {{max_upload_mb: 1}}\nexamples: examples\nbackbones: [{entries}]"
    service = Service(config.build(yaml_source.parse(text, "config.yaml"), ROOT))
    demo, slots = app.launch(service, free_port())
    try:
        assert service.probed.wait(60)
        image = draw(folder / "image.jpg").read_bytes()
        for name in NAMES:
            service.classify(folder / "image.jpg", name)  # import and load everything
        targets = create_targets(Path(get_upload_folder()), folder, image, NAMES)
        yield Page(service, demo, slots, f"127.0.0.1:{demo.server_port}", targets)
    finally:
        demo.close(verbose=False)


# --- in this process ---


@dataclass
class Outcomes:
    """The outcomes of payloads."""

    answered: int = 0
    refused: int = 0  # with an error message
    busy: int = 0
    without_message: Counter[str] = field(default_factory=Counter)  # refused without a message
    wrong: Counter[str] = field(default_factory=Counter)  # a traceback, status 500, a leaked secret, or no answer

    def to_json(self) -> dict[str, Any]:
        """Return all outcomes and their total."""
        total = self.answered + self.refused + self.busy + self.without_message.total() + self.wrong.total()
        return {**vars(self), "total": total}


async def in_process(page: Page, count: int, seed: int) -> Outcomes:
    """Call the functions behind all endpoints, public and private, as Gradio does, with hostile arguments."""
    import gradio as gr
    from gradio.state_holder import SessionState

    chance, outcomes, targets = random.Random(seed), Outcomes(), page.targets
    slow = {function.name: function for function in page.functions if function.name in ("open_page", "measure_line_up")}
    quick = [function for function in page.functions if function.name not in slow]
    for number in range(count):
        function = slow["measure_line_up"] if number % 100 == 60 else chance.choice(quick)
        if number % 40 == 0:  # a new session, whose state the following calls share
            state, function = SessionState(page.demo), slow["open_page"]
        values, clicked = arguments(chance, targets, function), event_data(chance, targets)
        request = _request(query(chance, targets))
        name = function.api_name or function.name
        try:
            await asyncio.wait_for(_called(page.demo, function, values, clicked, state, request), TIMEOUT_S)
            outcomes.answered += 1
        except gr.Error as error:
            if str(error.message).strip():
                outcomes.refused += 1
            else:
                outcomes.without_message[f"{name}: nothing"] += 1
        except Exception as error:  # Gradio hides its text from the client
            outcomes.without_message[f"{name}: {type(error).__name__}: {str(error)[:150]}"] += 1
    return outcomes


async def _called(demo: Any, function: Any, values: list[Any], clicked: Any, state: Any, request: Any) -> None:
    from gradio.events import EventData

    event, iterator = EventData(None, clicked), None
    while True:
        output = await demo.process_api(
            function, values, state=state, request=request, iterator=iterator, event_data=event
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


def over_http(page: Page, count: int, seed: int) -> Outcomes:
    """Send hostile requests to a page, four concurrently."""
    outcomes = Outcomes()
    with ThreadPoolExecutor(4) as threads:
        sent = islice(requests(page.targets, page.functions, seed), count)
        for request, (kind, response) in threads.map(lambda request: (request, send_request(page.host, request)), sent):
            where = f"{request.method} {request.path[:60]}"
            if kind in ("without_message", "wrong"):
                getattr(outcomes, kind)[f"{where} {request.body[:150]!r}: {response[:200]}"] += 1
            else:
                setattr(outcomes, kind, getattr(outcomes, kind) + 1)
            if page.targets.word in response or "root:x:" in response:
                outcomes.wrong[f"{where}: leaks a secret"] += 1
    return outcomes


def send_request(host: str, request: Request) -> tuple[str, str]:
    """Send a request; return the kind of its outcome and the text of the response."""
    try:
        status, text = exchange(host, request)
        if status == 200 and request.listen and "event_id" in text:
            path = request.listen.format(event=json.loads(text)["event_id"])
            _, text = exchange(host, Request("GET", path))
            return _stream_outcome(text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return "wrong", f"{type(error).__name__}: {error}"
    if status == 503:
        return "busy", text
    if status >= 500 or "Traceback" in text:
        return "wrong", f"{status} {text}"
    if status >= 400 or "event: error" in text or "unexpected_error" in text:
        return ("refused" if text.strip() or request.method == "HEAD" else "without_message"), text
    return ("refused" if '"isError":true' in text or '"error"' in text else "answered"), text


def _stream_outcome(text: str) -> tuple[str, str]:
    """Return the outcome of an event stream: an answer, or an error with or without a message."""
    pieces = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    messages = [json.loads(piece) for piece in pieces]
    kinds = [line.removeprefix("event: ") for line in text.split("\n") if line.startswith("event: ")]
    if kinds:  # the format of the simple endpoints
        failed, detail = kinds[-1] == "error", messages[-1]
    else:
        ended = [message for message in messages if message.get("msg") in ("process_completed", "unexpected_error")]
        if not ended:
            return "wrong", f"no end: {text[-300:]}"
        failed, detail = not ended[0].get("success", False), ended[0].get("output") or ended[0].get("message")
    if not failed:
        return "answered", text
    reason = detail.get("error") if isinstance(detail, dict) else detail
    return ("refused" if reason and str(reason).strip() else "without_message"), text


def exchange(host: str, request: Request) -> tuple[int, str]:
    """Return the status and text of a response, or the part received before the timeout."""
    connection = http.client.HTTPConnection(host, timeout=TIMEOUT_S)
    try:
        connection.putrequest(request.method, request.path)
        for key, text in {**request.headers, "Content-Length": str(len(request.body))}.items():
            connection.putheader(key, text.encode("latin-1", "replace"))
        with suppress(
            BrokenPipeError, ConnectionResetError
        ):  # rejected before the whole body was sent; the response is readable
            connection.endheaders(request.body)
        answer = connection.getresponse()
        text, until = b"", time.monotonic() + TIMEOUT_S
        while time.monotonic() < until and len(text) < 10**7:
            try:
                piece = answer.read1(1 << 16)
            except http.client.IncompleteRead:  # Gradio ends streams of unknown sessions this way
                break
            if not piece:
                break
            text += piece
        return answer.status, text.decode(errors="replace")
    finally:
        connection.close()

"""A load generator in a process of its own: many clients at once; counts answered, busy and lost requests.

python benchmarks/storm.py http://127.0.0.1:7860 classify 100 60 image.jpg right.json

Each client sends its next request as soon as it has an answer. After a 503 it does not obey Retry-After: it retries
after PAUSE_S. Prints JSON.
"""

import http.client
import json
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAUSE_S = 0.5
TIMEOUT_S = 60  # without a byte, after which a request counts as lost
FILE = {"meta": {"_type": "gradio.FileData"}}


class BusyServer(Exception):
    """The server rejected the request because it is busy."""


@dataclass
class Client:
    """A client of the HTTP API without Gradio's client: uploads an image and waits for the answer."""

    url: str
    api: str = "classify"

    def ask(self, image: bytes, *more: Any) -> Any:
        """Upload an image and return the answer to it; `more` has the endpoint's other arguments.

        Raises:
            BusyServer: when the server is busy.
            RuntimeError: when the response is another error.
            OSError: when there is no response.
        """
        return self.listen(self.join(self.upload(image), *more))

    def upload(self, image: bytes) -> str:
        """Upload an image, and return its path on the server."""
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        return json.loads(self._exchange("POST", "upload", head + image + b"\r\n--b--\r\n", kind))[0]

    def join(self, path: str, *more: Any) -> str:
        """Post a request, and return its event id."""
        body = json.dumps({"data": [{"path": path, **FILE}, *more]}).encode()
        return json.loads(self._exchange("POST", f"call/{self.api}", body, {"Content-Type": "application/json"}))[
            "event_id"
        ]

    def listen(self, event: str) -> Any:
        """Return the answer of an event."""
        lines = self._exchange("GET", f"call/{self.api}/{event}").splitlines()
        kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        if kinds[-1:] == ["complete"]:
            return json.loads(data[-1])[0]
        message = data[-1] if data else "nothing"
        raise (BusyServer if "busy:" in message else RuntimeError)(message)

    def _exchange(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> str:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://").rstrip("/"), timeout=TIMEOUT_S)
        try:
            with suppress(
                BrokenPipeError, ConnectionResetError
            ):  # rejected before the whole body was sent: there is a response
                connection.request(method, f"/gradio_api/{path}", body, headers or {})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status == 503:
            raise BusyServer(text)
        if response.status != 200:
            raise RuntimeError(f"{response.status} {text[:200]}")
        return text


@dataclass
class Tally:
    """The outcomes of requests: durations in seconds, and counts of errors."""

    answered_s: list[float] = field(default_factory=list)
    busy_s: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)


def storm(url: str, api: str, clients: int, seconds: float, image: bytes, right: Any) -> Tally:
    """Send requests from many clients for a number of seconds, and return the outcomes."""
    tally, deadline = Tally(), time.monotonic() + seconds

    def run_client(number: int) -> None:
        client, own = Client(url, api), marked(image, f"{id(tally)} {number}")
        while time.monotonic() < deadline:
            started = time.monotonic()
            try:
                answer = client.ask(own, *([None, 3] if api == "classify" else []))
                tally.answered_s.append(time.monotonic() - started)
                if not same(answer, right):
                    tally.lost["a wrong answer"] += 1
            except BusyServer:
                tally.busy_s.append(time.monotonic() - started)
                time.sleep(PAUSE_S)
            except Exception as error:
                tally.lost[f"{type(error).__name__}: {error}"[:150]] += 1

    threads = [threading.Thread(target=run_client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def marked(image: bytes, mark: str) -> bytes:
    """Return a JPEG with a comment added, so that its content hash is unique."""
    comment = mark.encode()
    return image[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + image[2:]


def same(answer: Any, right: Any, tolerance: float = 1e-5) -> bool:
    """Return whether two answers have the same classes, and probabilities that differ by at most `tolerance`."""
    if not isinstance(right, dict) or "predictions" not in right:
        return bool(answer == right)
    pairs = list(zip(answer["predictions"], right["predictions"], strict=True))
    return answer["backbone"] == right["backbone"] and all(
        a["class_index"] == b["class_index"] and abs(a["probability"] - b["probability"]) <= tolerance for a, b in pairs
    )


if __name__ == "__main__":
    url, api, clients, seconds, image, right = sys.argv[1:]
    tally = storm(url, api, int(clients), float(seconds), Path(image).read_bytes(), json.loads(Path(right).read_text()))
    print(json.dumps({"answered_s": tally.answered_s, "busy_s": tally.busy_s, "lost": tally.lost}))

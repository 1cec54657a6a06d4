"""Load generator: sends requests from many concurrent clients, and counts answered, busy and lost ones.

python benchmarks/storm.py http://127.0.0.1:7860 classify 100 60 image.jpg expected.json

Each client sends its next request as soon as it has an answer. After a 503 it ignores Retry-After and retries after
PAUSE_S. Prints JSON.
"""

import http.client
import json
import secrets
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAUSE_S = 0.5
TIMEOUT_S = 60  # of the socket; a request that times out is lost
FILE = {"meta": {"_type": "gradio.FileData"}}


class BusyServer(Exception):
    """The server refused the request because it is busy."""


@dataclass
class Client:
    """A minimal client of the HTTP API: uploads an image and waits for the answer, in one session as a browser does."""

    url: str
    api: str = "classify"
    session: str = field(default_factory=lambda: secrets.token_hex(8))

    def request(self, image: bytes, *other_arguments: Any) -> Any:
        """Upload an image, and return the answer of the endpoint to it and its other arguments.

        Raises:
            BusyServer: when the server is busy.
            RuntimeError: when the server responds with another error.
            OSError: when the connection fails or times out.
        """
        return self.listen(self.join(self.upload(image), *other_arguments))

    def upload(self, image: bytes) -> str:
        """Upload an image, and return its path on the server."""
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        return json.loads(self._exchange("POST", "upload", head + image + b"\r\n--b--\r\n", headers))[0]

    def join(self, path: str, *other_arguments: Any) -> str:
        """Post a request for an uploaded image, and return its event id."""
        body = json.dumps({"data": [{"path": path, **FILE}, *other_arguments], "session_hash": self.session}).encode()
        return json.loads(self._exchange("POST", f"call/{self.api}", body, {"Content-Type": "application/json"}))[
            "event_id"
        ]

    def listen(self, event: str) -> Any:
        """Wait for the answer of an event, and return it."""
        lines = self._exchange("GET", f"call/{self.api}/{event}").splitlines()
        events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        if events[-1:] == ["complete"]:
            return json.loads(data[-1])[0]
        message = data[-1] if data else "empty event stream"
        raise (BusyServer if "busy:" in message else RuntimeError)(message)

    def _exchange(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> str:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://").rstrip("/"), timeout=TIMEOUT_S)
        try:
            # a server that refuses the request before it has read the body still sends a response
            with suppress(BrokenPipeError, ConnectionResetError):
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


def storm(url: str, api: str, clients: int, seconds: float, image: bytes, expected: Any) -> Tally:
    """Send requests from concurrent clients for a number of seconds, and return the outcomes."""
    tally, deadline = Tally(), time.monotonic() + seconds

    def run_client(number: int) -> None:
        client, unique_image = Client(url, api), with_comment(image, f"{id(tally)} {number}")
        while time.monotonic() < deadline:
            started = time.monotonic()
            try:
                answer = client.request(unique_image, *([None, 3] if api == "classify" else []))
                tally.answered_s.append(time.monotonic() - started)
                if not same(answer, expected):
                    tally.lost["wrong answer"] += 1
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


def with_comment(image: bytes, text: str) -> bytes:
    """Add a comment to a JPEG, so that its content hash is unique."""
    comment = text.encode()
    return image[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + image[2:]


def same(answer: Any, expected: Any, tolerance: float = 1e-5) -> bool:
    """Return whether two answers have the same classes in the same order, with probabilities within `tolerance`."""
    if not isinstance(expected, dict) or "predictions" not in expected:
        return bool(answer == expected)
    pairs = list(zip(answer["predictions"], expected["predictions"], strict=True))
    return answer["backbone"] == expected["backbone"] and all(
        a["class_index"] == b["class_index"] and abs(a["probability"] - b["probability"]) <= tolerance for a, b in pairs
    )


if __name__ == "__main__":
    url, api, clients, seconds, image, expected = sys.argv[1:]
    answer = json.loads(Path(expected).read_text())
    tally = storm(url, api, int(clients), float(seconds), Path(image).read_bytes(), answer)
    print(json.dumps({"answered_s": tally.answered_s, "busy_s": tally.busy_s, "lost": tally.lost}))

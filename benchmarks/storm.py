"""Plays many visitors at once, in a process of its own: who is answered, who is told that it is busy, who is lost.

python benchmarks/storm.py http://127.0.0.1:7860 classify 100 60 image.jpg right.json

Each client asks again as soon as he has his answer. Who is told "busy" does not obey Retry-After: he is back
after PAUSE_S. It prints JSON.
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
TIMEOUT_S = 60  # without a byte, after which an answer is lost
FILE = {"meta": {"_type": "gradio.FileData"}}


class BusyServer(Exception):
    """The server said that it is busy."""


@dataclass
class Client:
    """Somebody who sends an image and waits for its answer, as a program without Gradio's client does."""

    url: str
    api: str = "classify"

    def ask(self, image: bytes, *more: Any) -> Any:
        """Upload an image and return the answer to it; `more` is what the endpoint takes after the image.

        Raises:
            BusyServer: when he is told to come again.
            RuntimeError: when he is told anything else that is no answer.
            OSError: when he is told nothing.
        """
        return self.listen(self.join(self.upload(image), *more))

    def upload(self, image: bytes) -> str:
        """Return the path that an uploaded image has on the server."""
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        return json.loads(self._exchange("POST", "upload", head + image + b"\r\n--b--\r\n", kind))[0]

    def join(self, path: str, *more: Any) -> str:
        """Ask for an answer, and return the id under which it comes."""
        body = json.dumps({"data": [{"path": path, **FILE}, *more]}).encode()
        return json.loads(self._exchange("POST", f"call/{self.api}", body, {"Content-Type": "application/json"}))[
            "event_id"
        ]

    def listen(self, event: str) -> Any:
        """Return the answer that was asked for."""
        lines = self._exchange("GET", f"call/{self.api}/{event}").splitlines()
        kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        found = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        if kinds[-1:] == ["complete"]:
            return json.loads(found[-1])[0]
        told = found[-1] if found else "nothing"
        raise (BusyServer if "busy:" in told else RuntimeError)(told)

    def _exchange(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> str:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://").rstrip("/"), timeout=TIMEOUT_S)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent: the answer is there
                connection.request(method, f"/gradio_api/{path}", body, headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status == 503:
            raise BusyServer(text)
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {text[:200]}")
        return text


@dataclass
class Tally:
    """What became of requests: the seconds that each took."""

    answered_s: list[float] = field(default_factory=list)
    busy_s: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)


def storm(url: str, api: str, clients: int, seconds: float, image: bytes, right: Any) -> Tally:
    """Let clients ask until the time is over, and return what became of all they asked."""
    tally, until = Tally(), time.monotonic() + seconds

    def visit(number: int) -> None:
        visitor, own = Client(url, api), marked(image, f"{id(tally)} {number}")
        while time.monotonic() < until:
            started = time.monotonic()
            try:
                answer = visitor.ask(own, *([None, 3] if api == "classify" else []))
                tally.answered_s.append(time.monotonic() - started)
                if not same(answer, right):
                    tally.lost["a wrong answer"] += 1
            except BusyServer:
                tally.busy_s.append(time.monotonic() - started)
                time.sleep(PAUSE_S)
            except Exception as error:
                tally.lost[f"{type(error).__name__}: {error}"[:150]] += 1

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def marked(image: bytes, mark: str) -> bytes:
    """Return a JPEG with a comment in it, so that no two have the same content."""
    comment = mark.encode()
    return image[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + image[2:]


def same(answer: Any, right: Any, most: float = 1e-5) -> bool:
    """Tell whether two answers have the same classes, and probabilities that differ by no more than that."""
    if not isinstance(right, dict) or "predictions" not in right:
        return bool(answer == right)
    pairs = list(zip(answer["predictions"], right["predictions"], strict=True))
    return answer["backbone"] == right["backbone"] and all(
        a["class_index"] == b["class_index"] and abs(a["probability"] - b["probability"]) <= most for a, b in pairs
    )


if __name__ == "__main__":
    url, api, clients, seconds, image, right = sys.argv[1:]
    found = storm(url, api, int(clients), float(seconds), Path(image).read_bytes(), json.loads(Path(right).read_text()))
    print(json.dumps({"answered_s": found.answered_s, "busy_s": found.busy_s, "lost": found.lost}))

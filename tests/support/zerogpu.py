"""A fake of the ZeroGPU device API, which the real `spaces` package calls to acquire a GPU."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse


@dataclass
class DeviceApi:
    """A server that grants one GPU to every request; `requests` has their paths and queries."""

    url: str
    uuid: str  # of the GPU, as reported by the driver
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def env(self, folder: Path) -> dict[str, str]:
        """Return the environment of a Space that offloads weights to a folder."""
        return {
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": self.url,
            "ZEROGPU_OFFLOAD_DIR": str(folder / "tensors"),
            "PYTHONUNBUFFERED": "1",
        }


@contextmanager
def serve_device_api(uuid: str = "GPU-0") -> Iterator[DeviceApi]:
    """Serve the API within a with block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            url = urlparse(self.path)
            api.requests.append((url.path, {key: value for key, (value, *_) in parse_qs(url.query).items()}))
            grant = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": api.uuid, "allowToken": "token"}
            body = json.dumps(grant if url.path == "/schedule" else {}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        api = DeviceApi(f"http://127.0.0.1:{server.server_port}", uuid)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield api
        server.shutdown()

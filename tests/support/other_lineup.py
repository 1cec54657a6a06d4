"""A server that answers as another Lineup would, or in any other way that a test scripts."""

import json
import select
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LABELS = ("cat", "dog", "owl")
PROBLEM = "application/problem+json"


def description(labels=LABELS, plan=None, **status):
    """Return the description of a backbone, with changes of its plan and its status."""
    names = [{"id": None, "name": name, "description": ""} for name in labels]
    described = {
        **{"architecture": "resnet50", "labels": names, "label_set": "its weights", "named": True},
        **{"activation": "softmax", "num_outputs": None, "license": "cc-by-4.0", "notes": ["a caveat"], "figures": {}},
        "transform": {"input_size": [8, 16], "mean": [0.5] * 3, "std": [0.5] * 3, "resizing": "center crop 0.9"},
        **{"embedding_dim": 2, "is_normalized": True},
    }
    of_status = {"name": "big", "source": "timm", "status": "idle", "parameters": 7, "license": "cc-by-4.0"}
    of_status |= {"figures_note": "", "summary": "resnet50; 3 classes", "problem": None}
    return {**of_status, "plan": {**described, **(plan or {})}, **status}


def answer(logits=(3.0, 2.0, 1.0), notes=("a caveat",), **more):
    """Return the answer to an image with these logits; the most probable class is first."""
    order = sorted(range(len(logits)), key=lambda index: -logits[index])
    predictions = [{"class_index": at, "id": None, "label": "x", "probability": logits[at]} for at in order]
    milliseconds = {"decode": 1.0, "preprocess": 2.0, "forward": 3.0}
    found = {"predictions": predictions, "engine": "openvino", "milliseconds": milliseconds, "notes": list(notes)}
    return {**found, **more}


def problem(status, **parts):
    """Return problem details as a Lineup sends them, as a response."""
    named = {"where": "", "expected": "", "got": "", "remedy": "", **parts}
    detail = f"expected {named['expected']}; {named['got']}"
    named["got"] = named["got"].removeprefix("got ")
    return status, {"Content-Type": PROBLEM}, json.dumps({"status": status, "detail": detail, **named}).encode()


class OtherLineup:
    """Serves responses in the order that they were scripted, and the last one of a kind again and again.

    Attributes:
        gets: responses to requests for a description.
        posts: responses to images; an exception closes the connection.
        requests: what has come: method, path, headers and body.
        held: images are not answered before it is set.
        gone: set when a client has closed its connection meanwhile.
    """

    def __init__(self, url):
        self.url, self.requests = url, []
        self.gets, self.posts = [ok(description(), ETag='"1"')], [ok(answer())]
        self.held, self.gone, self.connections = threading.Event(), threading.Event(), []
        self.held.set()

    def respond(self, method):
        script = self.gets if method == "GET" else self.posts
        return script.pop(0) if len(script) > 1 else script[0]

    def seen(self, method):
        return [request for request in self.requests if request[0] == method]


def ok(value, **headers):
    return 200, {"Content-Type": "application/vnd.lineup+json", **headers}, json.dumps(value).encode()


def _handler(other):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            other.connections.append(self.connection)

        def log_message(self, *_):
            pass

        def do_GET(self):
            self._answer()

        def do_POST(self):
            self._answer()

        def _answer(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            other.requests.append((self.command, self.path, dict(self.headers), body))
            response = other.respond(self.command)
            while self.command == "POST" and not other.held.wait(0.01):
                if select.select([self.connection], [], [], 0)[0]:  # it is closed: clients send nothing meanwhile
                    other.gone.set()
                    return
            if isinstance(response, Exception):
                self.close_connection = True
                return
            status, headers, content = response
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

    return Handler


@contextmanager
def serving_other(port=0):
    """Run such a server for the duration of the block."""
    other = OtherLineup("")
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(other))
    server.daemon_threads = True
    other.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield other
    finally:
        server.shutdown()
        server.server_close()
        for connection in other.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

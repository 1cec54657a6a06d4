"""Asks a served page over plain HTTP, as curl does."""

import http.client
import itertools
import json

JSON = {"Content-Type": "application/json"}


def ask(host, method, path, body=None, headers=None):
    """Return the status, the headers and the text of an answer."""
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace")
    finally:
        connection.close()


def file_data(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def join(page, fields, endpoint="classify"):
    """Ask as curl does, and return the status and what came: an event's id, or why not."""
    status, _, text = ask(page.host, "POST", f"/gradio_api/call/v2/{endpoint}", json.dumps(fields), JSON)
    return status, json.loads(text).get("event_id") or json.loads(text)["detail"]


def outcome(page, event, endpoint="classify"):
    """Return what comes of an event: `complete` or `error`, and its data."""
    _, _, text = ask(page.host, "GET", f"/gradio_api/call/{endpoint}/{event}")
    kind, data = [(kind, data) for kind, data in messages(text) if kind in ("complete", "error")][-1]
    return kind, data


def messages(text):
    lines = text.split("\n")
    for line, following in itertools.pairwise(lines):
        if line.startswith("event: "):
            yield line.removeprefix("event: "), json.loads(following.removeprefix("data: "))

"""Sends plain HTTP requests to a running app, as curl does."""

import http.client
import itertools
import json

JSON = {"Content-Type": "application/json"}


def ask(host, method, path, body=None, headers=None):
    """Send a request, and return the response's status, headers and text."""
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode(errors="replace")
    finally:
        connection.close()


def upload(page, image):
    """Upload an image as the page does, and return its path on the server."""
    boundary = "lineup"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'.encode()
    body = head + image.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, _, text = ask(page.host, "POST", "/gradio_api/upload", body, headers)
    assert status == 200, text
    return json.loads(text)[0]


def file_data(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def join(page, fields, endpoint="classify"):
    """Call an endpoint, and return the status and the event id, or the error's detail."""
    status, _, text = ask(page.host, "POST", f"/gradio_api/call/v2/{endpoint}", json.dumps(fields), JSON)
    return status, json.loads(text).get("event_id") or json.loads(text)["detail"]


def outcome(page, event, endpoint="classify"):
    """Return the final message of an event: `complete` or `error`, and its data."""
    _, _, text = ask(page.host, "GET", f"/gradio_api/call/{endpoint}/{event}")
    kind, data = [(kind, data) for kind, data in messages(text) if kind in ("complete", "error")][-1]
    return kind, data


def messages(text):
    """Yield the type and data of each server-sent event."""
    lines = text.split("\n")
    for line, following in itertools.pairwise(lines):
        if line.startswith("event: "):
            yield line.removeprefix("event: "), json.loads(following.removeprefix("data: "))

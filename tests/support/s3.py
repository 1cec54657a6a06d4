"""A stand-in for S3 on 127.0.0.1: enough of its protocol to list, read and write, with the errors that S3 has.

It is no S3: signatures are not verified, only the name of the key is. Objects are in memory::

    with S3({"photos": {"birds/wren/1.jpg": b"…"}}) as s3:
        os.environ.update(s3.env)
"""

import hashlib
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

KEY = "lineup-test"
PAGE = 1000  # objects in one answer of a listing
_TIME = "2026-01-02T03:04:05.000Z"
_HTTP_TIME = "Fri, 02 Jan 2026 03:04:05 GMT"


class S3:
    """Serves buckets, objects by key, until the block ends; `requests` counts methods by key of object."""

    def __init__(self, buckets: dict[str, dict[str, bytes]], page: int = PAGE) -> None:
        self.buckets, self.page = buckets, page
        self.requests: Counter[tuple[str, str]] = Counter()
        self.uploads: dict[str, dict[int, bytes]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True

    @property
    def env(self) -> dict[str, str]:
        """Return the environment in which AWS's own programs, and ours, use it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> "S3":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="s3", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler_of(s3: S3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            body = _body(self)
            s3.requests[self.command, key] += 1
            if f"Credential={KEY}/" not in self.headers.get("Authorization", ""):
                self._refuse(403, "AccessDenied", "Access Denied")
            elif bucket not in s3.buckets:
                self._refuse(404, "NoSuchBucket", "The specified bucket does not exist")
            elif self.command == "PUT":
                self._put(bucket, key, query, body)
            elif self.command == "POST":
                self._post(bucket, key, query)
            elif not key and self.command == "GET":
                self._list(s3.buckets[bucket], query)
            elif not key:
                self._answer(200)
            elif key not in s3.buckets[bucket]:
                self._refuse(404, "NoSuchKey", "The specified key does not exist.")
            else:
                self._object(s3.buckets[bucket][key])

        def _object(self, content: bytes) -> None:
            etag = {"ETag": f'"{hashlib.md5(content).hexdigest()}"', "Last-Modified": _HTTP_TIME}
            if wanted := self.headers.get("Range"):
                start, _, end = wanted.removeprefix("bytes=").partition("-")
                some = content[int(start) : int(end) + 1 if end else None]
                last = int(start) + len(some) - 1
                self._answer(206, some, **etag, **{"Content-Range": f"bytes {start}-{last}/{len(content)}"})
            else:
                self._answer(200, content, **etag)

        def _list(self, objects: dict[str, bytes], query: dict[str, str]) -> None:
            prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
            after = query.get("continuation-token", "") or query.get("start-after", "")
            entries = dict[str, str]()
            for key in sorted(objects):
                inner = key.removeprefix(prefix)
                if not key.startswith(prefix) or key <= after:
                    continue
                if delimiter and delimiter in inner:
                    folder = prefix + inner.partition(delimiter)[0] + delimiter
                    entries[folder] = f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
                else:
                    entries[key] = (
                        f"<Contents><Key>{escape(key)}</Key><LastModified>{_TIME}</LastModified>"
                        f"<Size>{len(objects[key])}</Size><StorageClass>STANDARD</StorageClass></Contents>"
                    )
            shown = list(entries)[: min(s3.page, int(query.get("max-keys", s3.page)))]
            more = len(entries) > len(shown)
            token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
            head = f"<KeyCount>{len(shown)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
            self._xml(200, f"<ListBucketResult>{head}{''.join(entries[key] for key in shown)}</ListBucketResult>")

        def _put(self, bucket: str, key: str, query: dict[str, str], body: bytes) -> None:
            if upload := query.get("uploadId"):
                s3.uploads[upload][int(query["partNumber"])] = body
            else:
                s3.buckets[bucket][key] = body
            self._answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

        def _post(self, bucket: str, key: str, query: dict[str, str]) -> None:
            if "uploads" in query:
                upload = hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()
                s3.uploads[upload] = {}
                inner = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
                self._xml(200, f"<InitiateMultipartUploadResult>{inner}</InitiateMultipartUploadResult>")
            elif "uploadId" in query:
                parts = s3.uploads.pop(query["uploadId"])
                s3.buckets[bucket][key] = b"".join(parts[number] for number in sorted(parts))
                inner = f'<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><ETag>"0"</ETag>'
                self._xml(200, f"<CompleteMultipartUploadResult>{inner}</CompleteMultipartUploadResult>")
            else:
                self._refuse(501, "NotImplemented", "Not implemented")

        def _refuse(self, status: int, code: str, message: str) -> None:
            self._xml(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>")

        def _xml(self, status: int, text: str) -> None:
            body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
            self._answer(status, body, **{"Content-Type": "application/xml"})

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    return Handler


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """Return the body of a request; AWS's SDK sends it in chunks of its own, with checksums behind them."""
    if request.headers.get("Transfer-Encoding") == "chunked":
        parts = []
        while size := int(request.rfile.readline().split(b";")[0], 16):
            parts.append(request.rfile.read(size))
            request.rfile.readline()
        request.rfile.readline()
        body = b"".join(parts)
    else:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
    if not request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return body
    content = []
    while body:
        head, _, rest = body.partition(b"\r\n")
        if not (size := int(head.split(b";")[0], 16)):
            break
        content.append(rest[:size])
        body = rest[size + 2 :]
    return b"".join(content)

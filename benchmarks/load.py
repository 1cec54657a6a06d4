"""Sends requests to a running app, sequentially and from sixteen concurrent clients; each uploads a different image."""

import itertools
import random
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file
from PIL import Image, ImageDraw

SMALL, LARGE = (1024, 768), (4000, 3000)
CLIENTS = 16
TIMEOUT_S = 180


class Images:
    """Writes JPEG files of one image with distinct content hashes."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self._folder, self._jpeg, self._count = folder, _jpeg(size), itertools.count()

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """Write a file with a new content hash, and delete it at the end of the block."""
        number = next(self._count)
        comment = f"{id(self)} {number}".encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        path = self._folder / f"image-{id(self)}-{number}.jpg"
        path.write_bytes(self._jpeg[:2] + segment + self._jpeg[2:])  # a comment segment after the SOI marker
        try:
            yield path
        finally:
            path.unlink()


def _jpeg(size: tuple[int, int]) -> bytes:
    """Draw an image with flat areas, edges and noise, like a photograph."""
    rng = random.Random(0)
    coarse = Image.merge("RGB", [Image.effect_noise((16, 12), 90) for _ in "RGB"]).resize(
        size, Image.Resampling.BICUBIC
    )
    draw, (width, height) = ImageDraw.Draw(coarse), size
    for _ in range(60):
        x, y, r = rng.randrange(width), rng.randrange(height), rng.randrange(width // 50, width // 8)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.randrange(256) for _ in "RGB"))
    fine = Image.effect_noise(size, 40).convert("RGB")
    buffer = BytesIO()
    Image.blend(coarse, fine, 0.12).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def client_of(url: str) -> Client:
    """Return a Gradio client with analytics disabled."""
    return Client(url, verbose=False, analytics_enabled=False)


def send_request(client: Client, api: str, images: Images) -> tuple[float, Any]:
    """Send one request; return its latency in seconds, including the upload, and the answer."""
    with images.fresh() as path:
        started = time.perf_counter()
        answer = client.submit(handle_file(path), api_name=api).result(timeout=TIMEOUT_S)
        return time.perf_counter() - started, answer


def one_by_one(client: Client, api: str, images: Images, max_count: int, seconds: float) -> list[tuple[float, Any]]:
    """Send requests sequentially up to a count or a time limit, but at least two; return latencies and answers."""
    deadline, answers = time.perf_counter() + seconds, []
    while len(answers) < 2 or (len(answers) < max_count and time.perf_counter() < deadline):
        answers.append(send_request(client, api, images))
    return answers


def per_second(url: str, api: str, images: Images, seconds: float) -> float:
    """Return the throughput in answers per second with sixteen clients, which send requests back to back."""
    clients = [client_of(url) for _ in range(CLIENTS)]
    barrier = threading.Barrier(CLIENTS + 1)

    def run_client(client: Client) -> tuple[int, float]:
        barrier.wait()
        deadline, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < deadline:
            send_request(client, api, images)
            count += 1
        return count, time.perf_counter()

    with ThreadPoolExecutor(CLIENTS) as threads:
        futures = [threads.submit(run_client, client) for client in clients]
        barrier.wait()
        started = time.perf_counter()
        done = [future.result() for future in futures]
    for client in clients:
        client.close()
    return sum(count for count, _ in done) / (max(ended for _, ended in done) - started)


def spread(times: list[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile, in milliseconds, of durations in seconds."""
    ordered = sorted(times)
    return statistics.median(ordered) * 1e3, ordered[round(0.95 * (len(ordered) - 1))] * 1e3

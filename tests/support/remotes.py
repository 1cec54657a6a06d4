"""A remote backbone that a test controls, in place of one that another process computes."""

import threading
import time
from dataclasses import dataclass, field

import numpy as np

from lineup.errors import ClientDisconnected, LineupError
from lineup.registry.remote import RemoteOutput
from lineup.results import StageTimings


@dataclass
class FakeRemote:
    """Returns fixed outputs, or those of a function of the image's bytes.

    Set it as the field `remote` of a plan: ``fakes.more["a"] = {"remote": remote.connect}``.
    """

    logits: object = (3.0, 2.0, 1.0)
    name: str = "far"
    hint: str = "f32"
    fingerprint: str = ""
    concurrency: int = 1
    where: str = "far.example"
    notes: tuple[str, ...] = ()
    error: LineupError | Exception | None = None  # raised by each output
    connecting: LineupError | None = None  # raised by `connect`
    connections: int = 0
    images: list[bytes] = field(default_factory=list)
    held: threading.Event | None = None  # outputs wait for it, and check their cancel flags
    running: int = 0
    most: int = 0  # outputs at the same time
    lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self):
        self.connections += 1
        if self.connecting:
            raise self.connecting
        return self

    def output(self, image, model_input, cancelled):
        with self.lock:
            self.images.append(image)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            deadline = time.monotonic() + 30
            while self.held and not self.held.wait(0.01):
                if cancelled():
                    raise ClientDisconnected
                assert time.monotonic() < deadline
            if self.error:
                raise self.error
            logits = self.logits(image) if callable(self.logits) else self.logits
            timings = StageTimings(1.0, 2.0, 3.0)
            seen = b"jpeg" if model_input else b""
            return RemoteOutput(np.float32([logits]), "there", "gpu", timings, self.notes, 448, seen)
        finally:
            with self.lock:
                self.running -= 1

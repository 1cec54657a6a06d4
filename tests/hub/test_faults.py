"""Twelve faults of the Hub, with an empty cache and with an older cached version: the error, and the time it takes."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineup.errors import HubError
from lineup.hub.downloads import CACHED_TIMEOUT_S, cached
from lineup.hub.files import HubFile

FILE = HubFile("me/pets", ("model.safetensors", "pytorch_model.bin"))
OLD, NEW = os.urandom(600_000), os.urandom(600_000)
SLACK_S = 5
SILENT = "no data was received for 1 s; try again later, or raise limits.hub_timeout_s if the connection is slow"
TOKEN = "set HF_TOKEN to a valid one, or unset it: public files need none"
FAULTS = {  # fault → end of the message
    "401": f"the token is not accepted (401); {TOKEN}",
    "404": "there is no such file (404); check the name",
    "gated": "the repository is gated; accept the terms on its page, and set HF_TOKEN",
    "429": "too many requests (429); wait a few minutes; with HF_TOKEN the rate limit is higher",
    "500": "the server failed (500); try again later",
    "503": "the server failed (503); try again later",
    "refused": "cannot be reached; check this machine's network; cached backbones still work",
    "hung": SILENT,
    "stalled": f"it stopped after 262144 bytes, and {SILENT}",
    "cut off": "the connection was interrupted; try again later",
    "corrupt": "its hash did not match, twice; try again later, or check for a proxy that changes downloads",
    "disk full": "the disk is full; free some space in the cache (HF_HOME, TORCH_HOME)",
}
# The Hub's client retries an interrupted connection five times, one second apart.
HUB_TIMEOUT_S = {fault: 8 if fault == "cut off" else 1 for fault in FAULTS}


@pytest.fixture
def loads(make_service, fakes, hub, fresh_cache):
    """Return a function that restarts the service with a local and a Hub backbone, and the list of loaded weights."""
    import torch

    loaded = []

    def make(path):
        loaded.append(path.read_bytes())
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 3))

    fakes.weights["b"], fakes.more["b"] = FILE, {"make": make}

    def start(hub_timeout_s):
        service = make_service(f"backbones: ['fake:a', 'fake:b']\nlimits: {{hub_timeout_s: {hub_timeout_s}}}")
        service._pool.get("fake:a")
        return service

    return start, loaded


@contextmanager
def broken(hub, fault, monkeypatch):
    """Inject a fault of the Hub or the disk inside the block."""
    if fault == "refused":
        with hub.unreachable():
            yield
    elif fault == "disk full":
        opened = Path.open

        def full(path, mode="r", **options):
            """Redirect downloads to /dev/full, where writes fail with ENOSPC."""
            return opened(Path("/dev/full") if path.suffix == ".incomplete" else path, mode, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", full)
            yield
    else:
        hub.faults["me/pets"] = fault
        yield
        hub.reset()


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_first_download_has_own_message_and_blocks_no_other(loads, hub, monkeypatch, image, fault):
    start, loaded = loads
    hub.put("me/pets", {"model.safetensors": NEW})
    service = start(HUB_TIMEOUT_S[fault])
    with broken(hub, fault, monkeypatch):
        started = time.monotonic()
        load = service.load("fake:b")
        while True:
            assert service.classify(image, "fake:a").backbone == "fake:a"
            if load.done():
                break
        took_s = time.monotonic() - started
        with pytest.raises(HubError) as caught:
            load.result()
    text = str(caught.value)
    assert text.startswith("fake:b: me/pets/model.safetensors: expected ")
    assert text.endswith(FAULTS[fault])
    assert "\n" not in text
    assert took_s < HUB_TIMEOUT_S[fault] + SLACK_S
    assert service.status("fake:b").reason == text
    assert (loaded, cached(FILE)) == ([], None)
    assert start(8)._pool.get("fake:b")  # the Hub is available again
    assert loaded == [NEW]


@pytest.mark.parametrize("fault", FAULTS)
def test_cached_version_is_served_while_the_update_fails(loads, hub, monkeypatch, fault):
    start, loaded = loads
    hub.put("me/pets", {"model.safetensors": OLD})
    start(8)._pool.get("fake:b")
    hub.put("me/pets", {"model.safetensors": NEW})
    service = start(8)
    with broken(hub, fault, monkeypatch):
        started = time.monotonic()
        service._pool.get("fake:b")
        assert time.monotonic() - started < CACHED_TIMEOUT_S + SLACK_S
        assert cached(FILE).read_bytes() == OLD  # also for the next start, with or without the Hub
    assert loaded == [OLD, OLD]
    start(8)._pool.get("fake:b")
    assert loaded == [OLD, OLD, NEW]
    assert cached(FILE).read_bytes() == NEW

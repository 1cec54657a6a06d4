import errno
import hashlib
import os
import time
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

from lineup import weights
from lineup.errors import HubError, UnreachableError
from lineup.weights import HubFile, LocalFile, UrlFile, cached, download_bytes, fetch, torch_hub_file

BODY = os.urandom(300_000)
FILE = HubFile("me/pets", ("model.safetensors", "pytorch_model.bin"))

pytestmark = pytest.mark.usefixtures("fresh_cache")


@pytest.fixture
def pets(hub):
    hub.put("me/pets", {"model.safetensors": BODY, "config.json": b"{}"})
    return hub


def refusal(file, timeout_s: float = 30, of=HubError) -> str:
    with pytest.raises(of) as caught:
        fetch(file, timeout_s)
    return str(caught.value)


def seconds(function, *arguments) -> float:
    started = time.monotonic()
    function(*arguments)
    return time.monotonic() - started


def url_file(hub, folder: Path, name: str = "model.safetensors", sha256: str = "") -> UrlFile:
    return UrlFile(f"{hub.url}/me/pets/resolve/main/{name}", folder / "checkpoints" / name, sha256)


FAULTS = [  # fault, what happened, what to do
    ("gated", "its owner lets in only those who asked", "accept the terms on its page and set HF_TOKEN"),
    ("403", "access was refused (403)", "set HF_TOKEN to a token that may read it"),
    ("429", "too many requests (429)", "try again later"),
    ("500", "the server failed (500)", "try again later"),
    ("503", "the server failed (503)", "try again later"),
    ("cut off", "the connection broke off", "try again later"),
    ("too short", "should be of size 300000 but has size 299990", "try again later"),
]


@pytest.mark.parametrize(("fault", "happened", "remedy"), FAULTS)
def test_a_fault_of_the_hub_is_told_with_file_cause_and_remedy(pets, fault, happened, remedy):
    pets.faults["me/pets"] = fault
    text = refusal(FILE)
    assert text.startswith(f"me/pets/model.safetensors: expected a download from {pets.url}; ")
    assert happened in text
    assert text.endswith(remedy)
    assert "\n" not in text
    assert cached(FILE) is None


@pytest.mark.parametrize(
    ("file", "happened", "remedy"),
    [
        (HubFile("me/nothing", ("a.bin",)), "no such public repository", "check the name"),
        (HubFile("me/pets", ("a.bin", "b.bin")), "no such file", "timm's format"),
        (HubFile("me/pets", ("model.safetensors",), "v9"), "no such revision", "after the @"),
        (HubFile("me/pets", ("model.safetensors",), "0" * 40), "no such revision", "after the @"),
    ],
)
def test_what_is_not_on_the_hub_is_told_apart(pets, file, happened, remedy):
    text = refusal(file)
    assert happened in text
    assert remedy in text


@pytest.mark.parametrize("fault", ["hung", "stalled"])
def test_silence_is_given_up_after_the_timeout(pets, fault):
    pets.faults["me/pets"] = fault
    started = time.monotonic()
    text = refusal(FILE, timeout_s=1, of=UnreachableError)
    assert 1 <= time.monotonic() - started < 2.5
    assert "nothing has arrived for 1 s; try again later, or raise limits.hub_timeout_s" in text


def test_a_hub_that_never_answers_is_given_up_before_a_long_timeout(pets, monkeypatch):
    monkeypatch.setattr(weights, "ASK_TIMEOUT_S", 0.5)
    pets.faults["me/pets"] = "hung"
    assert "no answer came in time; try again later" in refusal(FILE, timeout_s=30, of=UnreachableError)


def test_a_refused_connection_is_told_at_once(pets):
    with pets.gone():
        started = time.monotonic()
        text = refusal(FILE, of=UnreachableError)
    assert time.monotonic() - started < 2
    assert "cannot be reached; check this machine's network" in text


def test_offline_mode_is_told_as_such(pets, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refusal(FILE)
    assert pets.asked("me/pets") == []


@pytest.mark.parametrize("fault", ["hung", "500", "429", "gated", "401", "gone", "offline"])
def test_what_was_downloaded_before_still_works(pets, monkeypatch, fault):
    path = fetch(FILE, 30)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", fault == "offline")
    pets.faults["me/pets"] = fault
    if fault == "gone":
        with pets.gone():
            took = seconds(fetch, FILE, 30)
    else:
        took = seconds(fetch, FILE, 30)
    assert took < 4.5  # CACHED_TIMEOUT_S and some slack
    assert fetch(HubFile(FILE.repo, FILE.names, path.parent.name), 30) == path  # a full commit asks nobody


def test_a_new_version_replaces_the_cached_one(pets):
    fetch(FILE, 30)
    pets.put("me/pets", {"model.safetensors": b"newer"})
    assert fetch(FILE, 30).read_bytes() == b"newer"


@pytest.mark.parametrize("kind", [HubFile, UrlFile])
def test_reports_rise_to_the_total(pets, tmp_path, kind):
    body = bytes(24_000_000)
    pets.put("me/pets", {"model.safetensors": body})
    reports = []
    file = FILE if kind is HubFile else url_file(pets, tmp_path)
    assert fetch(file, 30, lambda *report: reports.append(report)).read_bytes() == body
    done = [done for done, total in reports]
    assert {total for done, total in reports} == {len(body)}
    assert len(set(done)) >= 3
    assert done == sorted(done)
    assert done[-1] == len(body)


def test_safetensors_is_preferred_and_pytorch_model_bin_the_fallback(hub):
    hub.put("me/both", {"model.safetensors": b"safe", "pytorch_model.bin": b"pickle"})
    hub.put("me/old", {"pytorch_model.bin": b"pickle"})
    assert fetch(HubFile("me/both", FILE.names), 30).read_bytes() == b"safe"
    assert fetch(HubFile("me/old", FILE.names), 30).read_bytes() == b"pickle"
    assert cached(HubFile("me/old", FILE.names)).name == "pytorch_model.bin"


def test_sizes_are_asked_of_the_hub_without_a_download(pets):
    assert download_bytes(FILE) == len(BODY)
    assert pets.asked("me/pets") == [("HEAD", "main/model.safetensors")]
    fetch(FILE, 30)
    pets.requests.clear()
    assert download_bytes(FILE) == len(BODY)
    assert pets.requests == []
    with pytest.raises(HubError, match="no such public repository"):
        download_bytes(HubFile("me/nothing", ("a.bin",)))


def test_a_file_of_this_machine_is_its_own_path(tmp_path):
    assert fetch(LocalFile(tmp_path / "x"), 1) == tmp_path / "x"


def test_a_url_is_downloaded_once_and_checked_by_its_hash(pets, tmp_path):
    file = url_file(pets, tmp_path, sha256=hashlib.sha256(BODY).hexdigest()[:8])
    assert cached(file) is None
    assert fetch(file, 30).read_bytes() == BODY
    pets.requests.clear()
    assert fetch(file, 30) == cached(file) == file.path
    assert pets.requests == []
    assert [path.name for path in file.path.parent.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("fault", "sha256", "told"),
    [
        ("", "0badc0de", "expected the published file; got 300000 bytes"),
        ("corrupt", hashlib.sha256(BODY).hexdigest()[:8], "got 300000 bytes"),
        ("cut off", "", "got 150"),
        ("404", "", "there is no such file (404); check the name"),
        ("429", "", "too many requests (429)"),
        ("500", "", "the server failed (500)"),
        ("hung", "", "nothing has arrived for 1 s"),
        ("stalled", "", "nothing has arrived for 1 s"),
    ],
)
def test_a_fault_of_a_url_is_told_and_leaves_no_file(pets, tmp_path, fault, sha256, told):
    pets.faults["me/pets"] = fault
    file = url_file(pets, tmp_path, sha256=sha256)
    text = refusal(file, timeout_s=1)
    assert text.startswith("model.safetensors: expected ")
    assert told in text
    assert cached(file) is None
    assert fault in ("hung", "stalled") or not list(tmp_path.glob("*/*.partial"))


def test_a_refused_url_is_told_at_once(tmp_path, hub):
    with hub.gone():
        started = time.monotonic()
        assert "127.0.0.1 cannot be reached" in refusal(url_file(hub, tmp_path), of=UnreachableError)
        assert time.monotonic() - started < 2


def test_a_torch_hub_name_says_folder_and_hash():
    file = torch_hub_file("https://download.pytorch.org/models/resnet18-f37072fd.pth", "/cache/hub")
    assert (file.path, file.sha256) == (Path("/cache/hub/checkpoints/resnet18-f37072fd.pth"), "f37072fd")
    assert torch_hub_file("https://example.org/plain.pth", "/cache/hub").sha256 == ""


def test_a_full_disk_is_told(pets, tmp_path, monkeypatch):
    def full(path: Path, mode: str):
        return open("/dev/full", mode, buffering=0)  # noqa: PTH123

    def http_get(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_download, "http_get", http_get)
    assert "the disk is full; make room where downloads are kept (HF_HOME, TORCH_HOME)" in refusal(FILE)
    monkeypatch.setattr(Path, "open", full)
    assert "the disk is full; make room" in refusal(url_file(pets, tmp_path))


def test_a_slow_download_is_not_given_up_while_bytes_come(hub, fresh_cache):
    body = bytes(3_000_000)
    hub.put("me/slow", {"model.safetensors": body})
    hub.faults["me/slow"] = "slow"
    assert fetch(HubFile("me/slow", ("model.safetensors",)), 0.6).read_bytes() == body


def test_other_bytes_of_the_same_length_are_refused_and_not_kept(hub, fresh_cache):
    file = HubFile("me/corrupt", ("model.safetensors",))
    hub.put("me/corrupt", {"model.safetensors": bytes(1000)})
    hub.faults["me/corrupt"] = "corrupt"
    with pytest.raises(HubError, match="other bytes came; try again later"):
        fetch(file, 10)
    hub.faults.clear()
    assert fetch(file, 10).read_bytes() == bytes(1000)

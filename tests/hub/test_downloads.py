import errno
import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfFileMetadata, constants, file_download
from opening import opened_files

from lineup.errors import HubError, UnreachableError
from lineup.hub import downloads, progress
from lineup.hub.downloads import cached, download_bytes, fetch
from lineup.hub.files import HubFile, LocalFile, UrlFile, torch_hub_file

BODY = os.urandom(300_000)
FILE = HubFile("me/pets", ("model.safetensors", "pytorch_model.bin"))

pytestmark = pytest.mark.usefixtures("fresh_cache")
AT_ONCE_S = 15  # half of the timeout: a loaded machine takes its time


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
    ("gated", "the repository is gated", "accept the terms on its page, and set HF_TOKEN"),
    ("403", "access was refused (403)", "set HF_TOKEN to a token that may read it"),
    ("401", "the token is not accepted (401)", "set HF_TOKEN to a valid one, or unset it: public files need none"),
    ("404", "there is no such file (404)", "check the name"),
    ("410", "the request was refused (410)", "try again later"),
    ("429", "too many requests (429)", "wait a few minutes; with HF_TOKEN the rate limit is higher"),
    ("500", "the server failed (500)", "try again later"),
    ("503", "the server failed (503)", "try again later"),
    ("cut off", "the connection was interrupted", "try again later"),
    ("too short", "should be of size 300000 but has size 299990", "try again later"),
]


@pytest.mark.parametrize(("fault", "happened", "remedy"), FAULTS)
def test_hub_fault_names_file_cause_and_remedy(pets, fault, happened, remedy):
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
        (HubFile("me/pets", ("a.bin", "b.bin")), "no such file", "a model of timm or transformers"),
        (HubFile("me/pets", ("model.safetensors",), "v9"), "no such revision", "after the @"),
        (HubFile("me/pets", ("model.safetensors",), "0" * 40), "no such revision", "after the @"),
    ],
)
def test_missing_repository_revision_and_file_have_own_messages(pets, file, happened, remedy):
    text = refusal(file)
    assert happened in text
    assert remedy in text


@pytest.mark.parametrize("fault", ["hung", "stalled"])
def test_stalled_download_times_out(pets, fault):
    pets.faults["me/pets"] = fault
    text = refusal(FILE, timeout_s=1, of=UnreachableError)
    assert "no data was received for 1 s; try again later, or raise limits.hub_timeout_s" in text


def test_metadata_timeout_applies_before_a_long_download_timeout(pets, monkeypatch):
    monkeypatch.setattr(downloads, "METADATA_TIMEOUT_S", 0.5)
    pets.faults["me/pets"] = "hung"
    assert "the request timed out; try again later" in refusal(FILE, timeout_s=30, of=UnreachableError)


def test_refused_connection_fails_at_once(pets):
    with pets.unreachable():
        started = time.monotonic()
        text = refusal(FILE, of=UnreachableError)
    assert time.monotonic() - started < AT_ONCE_S
    assert "cannot be reached; check this machine's network" in text


def test_offline_mode_is_named_and_sends_no_request(pets, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refusal(FILE)
    assert pets.requests_to("me/pets") == []


@pytest.mark.parametrize("fault", ["hung", "500", "429", "gated", "401", "gone", "offline"])
def test_cached_file_is_used_during_a_fault(pets, monkeypatch, fault):
    path = fetch(FILE, 30)
    monkeypatch.setattr(downloads, "METADATA_TIMEOUT_S", 30)  # CACHED_TIMEOUT_S is shorter
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", fault == "offline")
    pets.faults["me/pets"] = fault
    if fault == "gone":
        with pets.unreachable():
            took = seconds(fetch, FILE, 30)
    else:
        took = seconds(fetch, FILE, 30)
    assert took < AT_ONCE_S
    assert fetch(HubFile(FILE.repo, FILE.names, path.parent.name), 30) == path  # a pinned commit takes no request


def test_new_version_replaces_cached_file(pets):
    fetch(FILE, 30)
    pets.put("me/pets", {"model.safetensors": b"newer"})
    assert fetch(FILE, 30).read_bytes() == cached(FILE).read_bytes() == b"newer"


def test_newest_cached_file_takes_one_head_request(pets):
    path = fetch(FILE, 30)
    pets.requests.clear()
    assert fetch(FILE, 30) == path
    assert pets.requests_to("me/pets") == [("HEAD", "main/model.safetensors")]


def test_cached_file_is_not_read_again(pets):
    path = fetch(FILE, 30)
    with opened_files() as opened:
        assert fetch(FILE, 30) == path
    assert path.resolve() not in opened


def test_companion_files_are_updated_together(pets):
    config = replace(FILE, names=("config.json",), companions=FILE.names)
    old = fetch(config, 30)
    fetch(replace(FILE, revision=old.parent.name), 30)
    new = pets.put("me/pets", {"config.json": b"[]"})  # its weights are missing
    assert fetch(config, 30) == cached(config) == old
    assert old.read_bytes() == b"{}"
    new = pets.put("me/pets", {"model.safetensors": b"newer", "config.json": b"[]"})
    assert fetch(config, 30).read_bytes() == b"[]"
    with pets.unreachable():
        assert fetch(replace(FILE, revision=new), 30).read_bytes() == b"newer"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_corrupt_cached_file_is_downloaded_again(pets, caplog, name):
    file = replace(FILE, names=(name,))
    path = fetch(file, 30)
    body = path.read_bytes()
    path.write_bytes(bytes(len(body)))
    assert fetch(file, 30).read_bytes() == body
    assert "the cached file does not match its hash; downloading it again" in caplog.text
    path.write_bytes(bytes(len(body)))
    with pets.unreachable():
        texts = [refusal(file) for _ in range(2)]
    text = f"me/pets/{name}: expected the file that {pets.url} publishes, whose hash starts with "
    for each in texts:
        assert each.startswith(text)
        assert f"; {path} is cut off or has other contents, and it cannot be replaced: " in each
    assert fetch(file, 30).read_bytes() == body


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_hash_mismatch_is_retried_once_and_caches_nothing(pets, name):
    file = replace(FILE, names=(name,))
    pets.faults["me/pets"] = "corrupt"
    got = "its hash did not match, twice; try again later, or"
    assert refusal(file).startswith(f"me/pets/{name}: expected the file that {pets.url} publishes; {got}")
    assert [method for method, _ in pets.requests_to("me/pets")].count("GET") == 2
    assert [path for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.is_symlink()] == []
    assert not list(Path(constants.HF_HUB_CACHE).glob("*/blobs/*"))


def test_progress_ignores_repeated_bytes():
    reports = []
    bar = progress.reporting_bar(lambda *report: reports.append(report))(total=9)
    for step in (4, -4, 2, 2, 5):  # it restarts: the server does not support ranges
        bar.update(step)
    assert reports == [(4, 9), (9, 9)]


def test_retry_after_hash_mismatch_succeeds(pets, monkeypatch):
    first = iter([False])
    monkeypatch.setattr(downloads, "matches_etag", lambda *_: next(first, True))
    assert fetch(FILE, 30).read_bytes() == BODY
    assert [method for method, _ in pets.requests_to("me/pets")].count("GET") == 2


def test_response_without_hub_metadata_is_an_error(pets, monkeypatch):
    monkeypatch.setattr(downloads, "get_hf_file_metadata", lambda *_, **__: HfFileMetadata(None, None, "", 9, None))
    assert "the response is not the Hub's; check HF_ENDPOINT, and any proxy in between" in refusal(FILE)


@pytest.mark.parametrize("kind", [HubFile, UrlFile])
def test_progress_increases_to_the_total(pets, tmp_path, kind):
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


def test_download_with_the_clients_own_chunks_reports_the_total(pets, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10 * 1024 * 1024)  # what is set is not used any more
    reports = []
    assert fetch(FILE, 30, lambda *report: reports.append(report)).read_bytes() == BODY
    assert reports == [(len(BODY), len(BODY))]


def test_safetensors_is_preferred_over_pytorch_model_bin(hub):
    hub.put("me/both", {"model.safetensors": b"safe", "pytorch_model.bin": b"pickle"})
    hub.put("me/old", {"pytorch_model.bin": b"pickle"})
    assert fetch(HubFile("me/both", FILE.names), 30).read_bytes() == b"safe"
    assert fetch(HubFile("me/old", FILE.names), 30).read_bytes() == b"pickle"
    assert cached(HubFile("me/old", FILE.names)).name == "pytorch_model.bin"


def test_hub_file_size_takes_a_head_request_unless_cached(pets):
    assert download_bytes(FILE) == len(BODY)
    assert pets.requests_to("me/pets") == [("HEAD", "main/model.safetensors")]
    fetch(FILE, 30)
    pets.requests.clear()
    assert download_bytes(FILE) == len(BODY)
    assert pets.requests == []
    with pytest.raises(HubError, match="no such public repository"):
        download_bytes(HubFile("me/nothing", ("a.bin",)))


def test_url_file_size_takes_a_head_request_unless_cached(pets, tmp_path):
    file = url_file(pets, tmp_path)
    assert download_bytes(file) == len(BODY)
    assert [method for method, _ in pets.requests] == ["HEAD"]
    file.path.parent.mkdir()
    file.path.write_bytes(b"kept")
    assert download_bytes(file) == 4
    assert len(pets.requests) == 1
    with pytest.raises(HubError, match="there is no such file"):
        download_bytes(url_file(pets, tmp_path, "gone.pth"))
    with pets.unreachable(), pytest.raises(UnreachableError, match="cannot be reached"):
        download_bytes(url_file(pets, tmp_path, "other.pth"))


def test_local_file_is_returned_as_is(tmp_path):
    assert fetch(LocalFile(tmp_path / "x"), 1) == tmp_path / "x"


def test_url_file_is_downloaded_once_and_verified(pets, tmp_path):
    file = url_file(pets, tmp_path, sha256=hashlib.sha256(BODY).hexdigest()[:8])
    assert cached(file) is None
    assert fetch(file, 30).read_bytes() == BODY
    pets.requests.clear()
    assert fetch(file, 30) == cached(file) == file.path
    assert pets.requests == []
    assert [path.name for path in file.path.parent.iterdir()] == ["model.safetensors"]


def test_url_hash_mismatch_is_retried_once(pets, tmp_path):
    refusal(url_file(pets, tmp_path, sha256="0badc0de"))
    assert len(pets.requests_to("me/pets")) == 2


@pytest.mark.parametrize(
    ("fault", "sha256", "message"),
    [
        ("", "0badc0de", "expected the file that 127.0.0.1 publishes; its hash did not match, twice; try again later"),
        ("corrupt", hashlib.sha256(BODY).hexdigest()[:8], "its hash did not match, twice"),
        ("cut off", "", "the connection was interrupted; try again later"),
        ("404", "", "there is no such file (404); check the name"),
        ("429", "", "too many requests (429)"),
        ("500", "", "the server failed (500)"),
        ("hung", "", "no data was received for 1 s"),
        ("stalled", "", "no data was received for 1 s"),
    ],
    ids=["another file", "corrupt", "cut off", "404", "429", "500", "hung", "stalled"],
)
def test_url_fault_is_reported_and_caches_nothing(pets, tmp_path, fault, sha256, message):
    pets.faults["me/pets"] = fault
    file = url_file(pets, tmp_path, sha256=sha256)
    text = refusal(file, timeout_s=1)
    assert text.startswith("model.safetensors: expected ")
    assert message in text
    assert cached(file) is None
    assert fault in ("hung", "stalled") or not list(tmp_path.glob("*/*.partial"))


def test_refused_url_fails_at_once(tmp_path, hub):
    with hub.unreachable():
        started = time.monotonic()
        assert "127.0.0.1 cannot be reached" in refusal(url_file(hub, tmp_path), of=UnreachableError)
        assert time.monotonic() - started < AT_ONCE_S


def test_torch_hub_file_has_cache_path_and_hash_prefix():
    file = torch_hub_file("https://download.pytorch.org/models/resnet18-f37072fd.pth", "/cache/hub")
    assert (file.path, file.sha256) == (Path("/cache/hub/checkpoints/resnet18-f37072fd.pth"), "f37072fd")
    assert torch_hub_file("https://example.org/plain.pth", "/cache/hub").sha256 == ""


def test_full_disk_is_reported(pets, tmp_path, monkeypatch):
    def full(path: Path, mode: str):
        return open("/dev/full", mode, buffering=0)  # noqa: PTH123

    def http_get(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_download, "http_get", http_get)
    assert "the disk is full; free some space in the cache (HF_HOME, TORCH_HOME)" in refusal(FILE)
    monkeypatch.setattr(Path, "open", full)
    assert "the disk is full; free some space" in refusal(url_file(pets, tmp_path))


def test_slow_download_with_progress_does_not_time_out(hub, fresh_cache):
    body = bytes(3_000_000)
    hub.put("me/slow", {"model.safetensors": body})
    hub.faults["me/slow"] = "slow"
    assert fetch(HubFile("me/slow", ("model.safetensors",)), 0.6).read_bytes() == body

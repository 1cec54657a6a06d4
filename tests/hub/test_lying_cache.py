"""Cached files under a published name that have other contents are never returned."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants
from opening import opened_files

from lineup.errors import HubError
from lineup.hub.downloads import cached, cached_sha256, download_bytes, fetch
from lineup.hub.files import HubFile, UrlFile

BODY, OTHER = os.urandom(50_000), os.urandom(50_000)
FILE = HubFile("me/pets", ("model.safetensors",))
WRONG = {"cut off": BODY[:20_000], "other contents": OTHER, "longer": BODY + b"x", "empty": b""}

pytestmark = pytest.mark.usefixtures("fresh_cache")


@pytest.fixture
def pets(hub):
    hub.put("me/pets", {"model.safetensors": BODY, "config.json": b"{}"})
    return hub


@pytest.fixture
def url_file(pets, tmp_path):
    path = tmp_path / "checkpoints" / "net-0badc0de.pth"
    url = f"{pets.url}/me/pets/resolve/main/model.safetensors"
    return UrlFile(url, path, hashlib.sha256(BODY).hexdigest()[:8])


def refusal(file) -> str:
    with pytest.raises(HubError) as caught:
        fetch(file, 30)
    return str(caught.value)


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_url_file_with_another_hash_is_downloaded_again(url_file, body):
    url_file.path.parent.mkdir()
    url_file.path.write_bytes(body)
    assert download_bytes(url_file) == len(BODY)
    assert fetch(url_file, 30).read_bytes() == BODY
    with opened_files() as opened:
        fetch(url_file, 30)
    assert url_file.path not in opened  # its hash is recorded


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_url_file_with_another_hash_is_refused_offline(pets, url_file, body):
    url_file.path.parent.mkdir()
    url_file.path.write_bytes(body)
    with pets.unreachable():
        text = refusal(url_file)
    assert f"the file that 127.0.0.1 publishes, whose hash starts with {url_file.sha256}; " in text
    assert f"{url_file.path} is cut off or has other contents, and it cannot be replaced: 127.0.0.1 cannot" in text
    assert text.endswith("; a file of your own belongs elsewhere, with its path as `checkpoint`")
    assert url_file.path.read_bytes() == body


def test_url_file_that_is_swapped_between_two_loads_is_noticed(url_file):
    assert fetch(url_file, 30).read_bytes() == BODY
    url_file.path.with_name("new").write_bytes(OTHER)
    url_file.path.with_name("new").replace(url_file.path)
    assert fetch(url_file, 30).read_bytes() == BODY


@pytest.fixture(params=["links", "copies"])
def path(request, pets) -> Path:
    """Return the path of the cached file, in a cache with symbolic links, and in one with plain files."""
    found = fetch(FILE, 30)
    if request.param == "copies":
        blob = found.resolve()
        found.unlink()
        shutil.move(blob, found)
    return found


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("revision", ["branch", "commit"])
def test_hub_file_with_another_hash_is_downloaded_again(path, body, revision):
    file = replace(FILE, revision=path.parent.name if revision == "commit" else None)
    path.write_bytes(body)
    assert download_bytes(file) == len(BODY)
    assert fetch(file, 30).read_bytes() == BODY


@pytest.mark.parametrize("how", ["HF_HUB_OFFLINE", "unreachable"])
def test_hub_file_with_another_hash_is_refused_offline(pets, path, monkeypatch, how):
    path.write_bytes(OTHER)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "HF_HUB_OFFLINE")
    with pets.unreachable():
        texts = [refusal(FILE) for _ in range(2)]
    for text in texts:
        assert f"whose hash starts with {hashlib.sha256(BODY).hexdigest()[:8]}; " in text
        assert f"{path} is cut off or has other contents, and it cannot be replaced: " in text


def test_copy_from_another_cache_is_verified_and_its_hash_kept(pets, path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(path.parents[4] / "another"))  # without records
    if path.is_symlink():
        shutil.copy(path.resolve(), path.with_name("copy"))
        path.with_name("copy").replace(path)
    file = replace(FILE, revision=path.parent.name)
    assert cached_sha256(file) == ""
    path.write_bytes(OTHER)
    assert fetch(file, 30).read_bytes() == BODY
    assert cached_sha256(file) == hashlib.sha256(BODY).hexdigest()


def test_link_to_another_blob_is_noticed(pets):
    path = fetch(FILE, 30)
    hub_file = HubFile("me/others", FILE.names)
    pets.put("me/others", {"model.safetensors": OTHER})
    other = fetch(hub_file, 30)
    path.unlink()
    path.symlink_to(other.resolve())
    assert cached(FILE).read_bytes() == OTHER
    assert fetch(FILE, 30).read_bytes() == BODY

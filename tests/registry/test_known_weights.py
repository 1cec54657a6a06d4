"""Published figures belong to weights: they are assigned by the SHA-256 of a file, not by its name."""

import csv
import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from hub import with_config
from huggingface_hub import constants
from networks import seeded_timm
from planning import plan, write_folder
from timm.models import get_pretrained_cfg
from torchvision import models

from lineup.hub import checksums, downloads, files
from lineup.hub.files import HubFile
from lineup.registry import known_weights, timm_models, timm_published

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "lineup" / "registry" / "known_weights.csv"
BUNDLED = {"efficientnet_lite0": 74.846, "efficientnet_lite2": 77.47}
NOTE = "figures published for timm's conversion of the same checkpoint"
OWN = "test_resnet.r160_in1k"  # a small timm model with figures, whose URL contains no hash
OWN_FILE = HubFile(f"timm/{OWN}", timm_models.WEIGHT_FILES)


def top1(value, folder: Path = Path()) -> float | None:
    return plan(value, folder).figures.get("imagenet_top1")


def change(path: Path) -> None:
    """Change one byte of a weight: the file stays valid, with another hash."""
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(body)


@pytest.fixture
def own(hub, fresh_cache, publish):
    """Return the files of timm's own repository, which is not cached."""
    return publish(OWN)


@pytest.fixture
def cached(own):
    """Return the same files, with timm's own weights cached."""
    downloads.fetch(OWN_FILE, 30)
    return own


# --- files converted from published checkpoints ---


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_weights_have_figures_and_note_in_any_folder(tmp_path, name):
    body = (ROOT / "bundled" / name / "model.safetensors").read_bytes()
    config = (ROOT / "bundled" / name / "config.json").read_bytes()
    write_folder(tmp_path / "mine", {"config.json": config, "model.safetensors": body})
    for value in (
        f"local-dir:{ROOT / 'bundled' / name}",
        "local-dir:mine",
        {"backbone": f"tf_{name}", "checkpoint": "mine/model.safetensors"},
    ):
        planned = plan(value, tmp_path)
        assert (planned.figures["imagenet_top1"], planned.figures_note) == (BUNDLED[name], NOTE)


@pytest.mark.parametrize("name", BUNDLED)
def test_one_changed_byte_removes_figures_of_bundled_weights(tmp_path, name):
    write_folder(tmp_path / name, {path.name: path.read_bytes() for path in (ROOT / "bundled" / name).iterdir()})
    assert plan(f"local-dir:{name}", tmp_path).figures
    change(tmp_path / name / "model.safetensors")
    for value in (f"local-dir:{name}", {"backbone": f"tf_{name}", "checkpoint": f"{name}/model.safetensors"}):
        planned = plan(value, tmp_path)
        assert (planned.figures, planned.figures_note) == ({}, "")


def test_table_lists_bundled_files_and_their_origin():
    sys.path.insert(0, str(ROOT / "bundled"))
    import make

    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {
            "sha256": checksums.sha256(ROOT / "bundled" / size.name / "model.safetensors"),
            "tag": f"{size.architecture}.in1k",
            "made": f"stored in half precision from {size.file} (SHA-256 {size.sha256}) by bundled/make.py",
        }
        for size in make.SIZES
    ]


# --- the hash prefix in the names of timm's files ---


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Write lcnet.pth, whose hash is the one in timm's URL of lcnet_050.ra2_in1k."""
    torch.save(seeded_timm("lcnet_050").state_dict(), tmp_path / "lcnet.pth")
    put_hash_in_url(monkeypatch, "lcnet_050-f447553b.pth", tmp_path / "lcnet.pth")
    return tmp_path


def put_hash_in_url(monkeypatch, name: str, path: Path) -> None:
    """Make the hash of a file the one in a published URL, as the published file is not available here."""
    digits, usual = checksums.sha256(path)[:8], files.sha256_in_name
    monkeypatch.setattr(files, "sha256_in_name", lambda url: digits if url.endswith(name) else usual(url))


LCNET = {"backbone": "lcnet_050", "checkpoint": "lcnet.pth"}


def test_checkpoint_released_by_timm_has_its_figures(released):
    planned = plan(LCNET, released)
    assert (planned.figures["imagenet_top1"], planned.figures["gmacs"], planned.figures_note) == (63.138, 0.05, "")
    change(released / "lcnet.pth")
    assert plan(LCNET, released).figures == {}


@pytest.mark.parametrize(
    "overrides",
    [{"mean": (0.4, 0.4, 0.4)}, {"crop_pct": 0.5}, {"interpolation": "nearest"}],
    ids=lambda overrides: next(iter(overrides)),
)
def test_released_checkpoint_with_other_transform_has_no_figures(released, overrides):
    assert plan({**LCNET, **overrides}, released).figures == {}


def test_released_checkpoint_with_explicit_default_transform_has_figures(released):
    overrides = {"mean": get_pretrained_cfg("lcnet_050").mean, "crop_pct": get_pretrained_cfg("lcnet_050").crop_pct}
    assert plan({**LCNET, **overrides}, released).figures == plan(LCNET, released).figures != {}


def test_figures_match_the_input_size_of_the_entry(released):
    assert plan({**LCNET, "input_size": 224}, released).figures == plan(LCNET, released).figures
    assert plan({**LCNET, "input_size": 128}, released).figures == {}


def test_labels_do_not_affect_figures_of_a_checkpoint(released):
    assert top1({**LCNET, "labels": [str(number) for number in range(1000)]}, released) == 63.138


@pytest.mark.usefixtures("fresh_cache")
@pytest.mark.parametrize("value", [{"backbone": "lcnet_050", "checkpoint": "own.pth"}, "local-dir:own"])
def test_file_without_candidates_is_not_hashed(tmp_path, monkeypatch, value, publish):
    torch.save(seeded_timm("lcnet_050", num_classes=3).state_dict(), tmp_path / "own.pth")
    # timm's own file is not cached
    write_folder(tmp_path / "own", with_config(publish(OWN), architecture="test_resnet"))
    monkeypatch.setattr(checksums, "sha256", None)
    assert plan(value, tmp_path).figures == {}


# --- torchvision's ---


MOBILE = {"backbone": "torchvision/mobilenet_v2", "checkpoint": "mobile.pth"}


def test_torchvision_checkpoint_has_figures_with_its_own_transform_only(tmp_path, monkeypatch):
    torch.manual_seed(0)
    torch.save(models.mobilenet_v2().state_dict(), tmp_path / "mobile.pth")
    first, second = models.MobileNet_V2_Weights.IMAGENET1K_V1, models.MobileNet_V2_Weights.IMAGENET1K_V2
    with monkeypatch.context() as patched:
        put_hash_in_url(patched, Path(first.url).name, tmp_path / "mobile.pth")
        # the transform of the default weights is assumed, which resizes to 232, not 256
        assert plan(MOBILE, tmp_path).figures == {}
    put_hash_in_url(monkeypatch, Path(second.url).name, tmp_path / "mobile.pth")
    planned = plan(MOBILE, tmp_path)
    assert (planned.figures, planned.figures_note) == (plan("torchvision/mobilenet_v2").figures, "")
    assert planned.figures["imagenet_top1"] == 72.154
    for overrides in ({"input_size": 192}, {"crop_pct": 0.8}):
        assert plan({**MOBILE, **overrides}, tmp_path).figures == {}
    change(tmp_path / "mobile.pth")
    assert plan(MOBILE, tmp_path).figures == {}


# --- repositories and folders with the bytes of timm's own repository ---


def test_copy_of_timms_file_has_its_figures_in_any_location(hub, cached, tmp_path):
    hub.put("me/copy", cached)
    write_folder(tmp_path / "copy", cached)
    downloads.fetch(HubFile("me/copy", timm_models.WEIGHT_FILES), 30)
    checkpoint = {"backbone": "test_resnet", "checkpoint": "copy/model.safetensors"}
    for value in ("hf-hub:me/copy", "local-dir:copy", checkpoint):
        assert top1(value, tmp_path) == 41.602
    change(tmp_path / "copy" / "model.safetensors")
    for value in ("local-dir:copy", checkpoint):
        assert plan(value, tmp_path).figures == {}


def test_other_bytes_under_timms_name_have_no_figures(hub, cached):
    body = cached["model.safetensors"]
    hub.put(f"me/{OWN}", {**cached, "model.safetensors": body[:-1] + bytes([body[-1] ^ 1])})
    downloads.fetch(HubFile(f"me/{OWN}", timm_models.WEIGHT_FILES), 30)
    assert plan(f"hf-hub:me/{OWN}").figures == {}


def test_copy_has_no_figures_unless_timms_file_is_cached(hub, own, tmp_path):
    hub.put("me/copy", own)
    downloads.fetch(HubFile("me/copy", timm_models.WEIGHT_FILES), 30)
    write_folder(tmp_path / "copy", own)
    for value in ("hf-hub:me/copy", "local-dir:copy"):
        assert plan(value, tmp_path).figures == {}


EDITED = {  # in pretrained_cfg of config.json: differs from test_resnet.r160_in1k
    "mean": [0.4, 0.5, 0.5],
    "std": [0.5, 0.5, 0.4],
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "crop_mode": "squash",
}


def edited(files, **changes):
    return with_config(files, pretrained_cfg={**json.loads(files["config.json"])["pretrained_cfg"], **changes})


@pytest.mark.parametrize("key", EDITED)
def test_edited_transform_has_no_figures(hub, cached, tmp_path, key):
    files = edited(cached, **{key: EDITED[key]})
    write_folder(tmp_path / "copy", files)
    hub.put("me/edited", files)
    downloads.fetch(HubFile("me/edited", timm_models.WEIGHT_FILES), 30)
    for value in ("local-dir:copy", "hf-hub:me/edited"):
        assert plan(value, tmp_path).figures == {}


def test_edited_input_size_has_the_figures_of_that_size(cached, tmp_path):
    write_folder(tmp_path / "copy", edited(cached, input_size=[3, 192, 192]))
    assert top1("local-dir:copy", tmp_path) is None
    assert top1({"backbone": "local-dir:copy", "input_size": 160}, tmp_path) == 41.602


def test_same_weights_with_other_pooling_have_no_figures(cached, tmp_path):
    write_folder(tmp_path / "max", with_config(cached, model_args={"global_pool": "max"}))
    write_folder(tmp_path / "avg", with_config(cached, model_args={"global_pool": "avg"}))
    assert [top1(f"local-dir:{name}", tmp_path) for name in ("max", "avg")] == [None, 41.602]


# --- timm's own repository ---


@pytest.fixture
def pinned(hub, own, fresh_cache):
    """Temporarily add a second version to timm's repository; return the older and the newer commit."""
    repo = hub.repos[OWN_FILE.repo]
    newer, older = repo.branches["main"], "0123456789abcdef0123456789abcdef01234567"
    body = own["model.safetensors"]
    repo.commits[older] = {**own, "model.safetensors": body[:-1] + bytes([body[-1] ^ 1])}
    repo.branches["v1"] = older
    yield older, newer
    del repo.commits[older], repo.branches["v1"]


@pytest.mark.parametrize("revision", ["", "@main"])
def test_timms_repository_at_main_has_its_figures(own, revision):
    assert top1(f"hf-hub:timm/{OWN}{revision}") == 41.602


def test_pinned_revision_has_figures_only_with_a_known_hash(pinned):
    older, newer = pinned
    values = [f"hf-hub:timm/{OWN}@{revision}" for revision in (newer, older, "v1")]
    assert [plan(value).figures for value in values] == [{}, {}, {}]  # their hashes are unknown
    for revision in (None, older):
        downloads.fetch(HubFile(OWN_FILE.repo, OWN_FILE.names, revision), 30)
    assert [top1(value) for value in values] == [41.602, None, None]


def test_timms_repository_with_edited_transform_has_no_figures(hub, own):
    repo = hub.repos[OWN_FILE.repo]
    before = repo.branches["main"]
    try:
        hub.put(OWN_FILE.repo, edited(own, crop_pct=0.5))
        assert plan(f"hf-hub:timm/{OWN}").figures == {}
    finally:
        repo.branches["main"] = before


def test_timm_name_has_no_figures_if_the_download_is_unverified(monkeypatch):
    assert top1("lcnet_050") == 63.138
    url = "https://example.org/lcnet.pth"
    monkeypatch.setattr(timm_published, "weights_file", lambda cfg: files.torch_hub_file(url, "nowhere"))
    assert plan("lcnet_050").figures == {}


# --- requests ---


def weight_requests(hub) -> list[str]:
    return [method for method, path in hub.requests_to("me/copy") if path.endswith("model.safetensors")]


def test_uncached_copy_takes_one_head_request(hub, cached, make_service):
    hub.put("me/copy", cached)
    (status,) = make_service("backbones: ['hf-hub:me/copy']").probe()
    assert status.figures["imagenet_top1"] == 41.602
    assert status.download_bytes == len(cached["model.safetensors"])
    assert weight_requests(hub) == ["HEAD"]


def test_cached_copy_takes_no_request(hub, cached, make_service):
    hub.put("me/copy", cached)
    config = plan("hf-hub:me/copy").weights  # caches config.json
    downloads.fetch(config, 30)
    hub.requests.clear()
    (status,) = make_service("backbones: ['hf-hub:me/copy']").probe(offline=True)
    assert status.figures["imagenet_top1"] == 41.602
    assert hub.requests == []


@pytest.mark.parametrize("how", ["--offline", "HF_HUB_OFFLINE"])
def test_offline_probe_sends_no_request_and_has_no_figures(hub, cached, make_service, monkeypatch, how):
    hub.put("me/copy", cached)
    plan("hf-hub:me/copy")
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "HF_HUB_OFFLINE")
    service = make_service("backbones: ['hf-hub:me/copy']")
    (status,) = service.probe(offline=how == "--offline")
    assert (status.figures, status.num_classes) == ({}, 1000)
    assert hub.requests == []


@pytest.mark.parametrize("fault", ["500", "hung"])
def test_unavailable_hub_removes_figures_but_not_the_plan(hub, cached, make_service, monkeypatch, fault):
    monkeypatch.setattr(downloads, "METADATA_TIMEOUT_S", 0.5)
    monkeypatch.setattr(downloads, "CACHED_TIMEOUT_S", 0.5)
    hub.put("me/copy", cached)
    plan("hf-hub:me/copy")
    hub.faults["me/copy"] = fault
    (status,) = make_service("backbones: ['hf-hub:me/copy']").probe()
    assert (status.figures, status.num_classes) == ({}, 1000)


def test_etag_that_is_not_a_hash_gives_no_sha256(hub, cached, monkeypatch):
    hub.put("me/copy", cached)
    file = HubFile("me/copy", timm_models.WEIGHT_FILES)
    digest = hashlib.sha256(cached["model.safetensors"]).hexdigest()
    assert downloads.remote_metadata(file) == (digest, len(cached["model.safetensors"]))
    monkeypatch.setattr("hub._etag", lambda path, body: '"W/something-else"')
    assert downloads.remote_metadata(file)[0] == ""


def test_candidate_without_hashes_never_matches(tmp_path):
    (tmp_path / "empty").touch()
    candidates = [known_weights.Candidate("test_vit.r160_in1k", {"gmacs": 1.0})]
    assert known_weights.figures(files.LocalFile(tmp_path / "empty"), None, candidates) == ({}, "")

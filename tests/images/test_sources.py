"""Data sets of the Hub as sources of an evaluation: image folders and Parquet files, and what is wrong with them."""

import io
import json
from contextlib import ExitStack

import pytest
from PIL import Image

from lineup.config import Limits
from lineup.errors import HubError, LineupError
from lineup.hub import datasets
from lineup.hub.problems import download_errors
from lineup.images.sources import open_source

REPO = "datasets/me/pets"
ADDRESS = f"hf://{REPO}"


@pytest.fixture(autouse=True)
def caches(hub, fresh_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "lineup"))


def png(seed):
    buffer = io.BytesIO()
    Image.new("RGB", (24, 20), (seed % 256, seed // 256, 80)).save(buffer, "PNG")
    return buffer.getvalue()


def images_of(source):
    """Return name, label and split of each image of a source, and the set."""
    with ExitStack() as stack:
        found = open_source(source, stack, Limits(hub_timeout_s=10))
    return [(image.name, image.label, image.split) for image in found.images], found


FILES = {
    "README.md": b"---\n---\n",
    ".gitattributes": b"",
    "train/cat/1.png": png(1),
    "train/dog/2.png": png(2),
    "test/dog/3.png": png(3),
}


def test_folders_of_a_repository_are_labels(hub):
    hub.put(REPO, FILES)
    found, images = images_of(ADDRESS)
    assert images.name == "pets"
    assert found == [
        ("test/dog/3.png", "dog", "test"),
        ("train/cat/1.png", "cat", "train"),
        ("train/dog/2.png", "dog", "train"),
    ]


def test_only_the_files_of_a_split_or_folder_are_downloaded(hub):
    hub.put(REPO, FILES)
    assert images_of(f"{ADDRESS}?split=test")[0] == [("test/dog/3.png", "dog", "test")]
    assert not any("train/" in path for _, path in hub.requests)
    assert images_of(f"{ADDRESS}/train")[0] == [("cat/1.png", "cat", ""), ("dog/2.png", "dog", "")]


def test_revision_is_evaluated_as_it_was(hub):
    commit = hub.put(REPO, {"cat/1.png": png(1)})
    hub.put(REPO, {"dog/1.png": png(1)})
    hub.put(REPO, {"owl/1.png": png(1)}, branch="refs/convert/other")
    assert images_of(f"{ADDRESS}@{commit}")[1].labels == ["cat"]
    assert images_of(ADDRESS)[1].labels == ["dog"]
    assert images_of(f"{ADDRESS}@refs/convert/other")[1].labels == ["owl"]


def test_metadata_file_of_a_repository_gives_labels(hub):
    rows = json.dumps({"file_name": "1.png", "label": "cat"}).encode()
    hub.put(REPO, {"metadata.jsonl": rows, "1.png": png(1)})
    assert images_of(ADDRESS)[0] == [("1.png", "cat", "")]


def test_data_set_that_was_read_is_read_again_without_the_hub(hub):
    hub.put(REPO, FILES)
    first, _ = images_of(ADDRESS)
    with hub.unreachable():
        assert images_of(ADDRESS)[0] == first


FAULTS = [("gated", "the repository is gated"), ("429", "too many requests"), ("500", "the server failed")]


@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_refused_request_is_an_error_with_its_reason(hub, fault, message):
    hub.put(REPO, FILES)
    hub.faults[REPO] = fault
    with pytest.raises(HubError, match=message):
        images_of(ADDRESS)


BAD = [
    (ADDRESS + "x", "no such public repository"),
    (f"{ADDRESS}@nowhere", "it has no such revision"),
    (f"{ADDRESS}/nothing", "expected a data set of image files, or of Parquet files; there are no files"),
    (f"{ADDRESS}?split=dev", "expected a split called 'dev'; it has test and train"),
    (f"{ADDRESS}?lable=x", "expected hf://datasets/OWNER/NAME"),
    ("hf://me/pets", "expected hf://datasets/OWNER/NAME"),
    ("https://huggingface.co/datasets/me/pets", "expected hf://datasets/OWNER/NAME"),
]


@pytest.mark.parametrize(("address", "message"), BAD)
def test_wrong_address_is_an_error_with_its_remedy(hub, address, message):
    hub.put(REPO, FILES)
    with pytest.raises(LineupError) as caught:
        images_of(address)
    assert message in str(caught.value)


def test_names_that_lead_out_of_the_folder_write_nothing(hub, tmp_path, monkeypatch):
    hub.put(REPO, FILES)
    monkeypatch.setattr(datasets, "fetch", lambda *_: tmp_path / "x")
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "in").mkdir()
    listing = datasets.Listing("me/pets", "0" * 40, ("../out.png",))
    with pytest.raises(LineupError, match="files inside the repository"):
        datasets.fetch_to(tmp_path / "in", listing, listing.names, "", 5)
    assert not (tmp_path / "out.png").exists()


def test_offline_mode_is_named(hub, monkeypatch):
    from huggingface_hub import errors

    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"), download_errors("me/pets", "the Hub"):
        raise errors.OfflineModeIsEnabled


# --- Parquet ---


def table(rows, features=None):
    """Return a Parquet file of columns."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    written = pyarrow.table(rows)
    if features:
        metadata = json.dumps({"info": {"features": features}}).encode()
        written = written.replace_schema_metadata({b"huggingface": metadata})
    buffer = io.BytesIO()
    parquet.write_table(written, buffer, row_group_size=2)
    return buffer.getvalue()


def of(*seeds):
    return [{"bytes": png(seed), "path": None} for seed in seeds]


NAMED = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}


def test_shards_of_splits_are_read_with_the_names_of_the_schema(hub):
    files = {
        "data/train-00000-of-00002.parquet": table({"image": of(1, 2), "label": [0, 1]}, NAMED),
        "data/train-00001-of-00002.parquet": table({"image": of(3), "label": [1]}, NAMED),
        "data/test-00000-of-00001.parquet": table({"image": of(4), "label": [-1]}, NAMED),
    }
    hub.put(REPO, files)
    found, _ = images_of(ADDRESS)
    assert [each[1:] for each in found] == [(None, "test"), ("cat", "train"), ("dog", "train"), ("dog", "train")]
    assert [each[1] for each in images_of(f"{ADDRESS}?split=train")[0]] == ["cat", "dog", "dog"]


CARD = b"""---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': tench
          '1': owl
---
# Fish
"""


def test_names_come_from_the_card_where_the_schema_has_none(hub):
    hub.put(REPO, {"README.md": CARD, "all.parquet": table({"image": of(1, 2), "label": [1, 0]})})
    assert [label for _, label, _ in images_of(ADDRESS)[0]] == ["owl", "tench"]


@pytest.mark.parametrize("card", [b"", b"no front matter", b"---\ndataset_info: 3\n---\n", b"---\n[\n---\n"])
def test_card_in_another_form_leaves_numbers(hub, card):
    hub.put(REPO, {"README.md": card, "all.parquet": table({"image": of(1), "label": [1]})})
    assert [label for _, label, _ in images_of(ADDRESS)[0]] == ["1"]


def test_columns_may_be_binary_text_and_chosen(hub):
    rows = {"picture": [png(1), png(2)], "kind": ["cat", "dog"], "label": [0, 0]}
    hub.put(REPO, {"all.parquet": table(rows)})
    assert [each[1] for each in images_of(f"{ADDRESS}?image=picture&label=kind")[0]] == ["cat", "dog"]


def test_column_of_groups_is_read(hub):
    rows = {"image": of(1, 2, 3, 4), "label": ["a", "a", "b", "b"], "Group-ID": [7.0, 7.0, float("nan"), None]}
    hub.put(REPO, {"all.parquet": table(rows)})
    assert [image.group for image in images_of(ADDRESS)[1].images] == ["7.0", "7.0", "", ""]


def test_copy_keeps_the_group_that_any_of_them_has(hub):
    nan = float("nan")  # no group of all that have none
    rows = [{"file_name": f"a/{index}.png", "group": group} for index, group in ((1, nan), (2, "x"), (3, "x"))]
    files = {"a/0.png": png(2), "a/1.png": png(1), "a/2.png": png(2), "a/3.png": png(3)}
    hub.put(REPO, {**files, "metadata.jsonl": "\n".join(map(json.dumps, rows)).encode()})
    groups = {image.name: image.group for image in images_of(ADDRESS)[1].images}
    assert groups == {"a/0.png": "x", "a/1.png": "", "a/3.png": "x"}


def test_row_with_several_labels_or_no_image_is_left_out(hub):
    rows = {"image": [*of(1, 2), None], "label": [["cat"], ["cat", "dog"], ["dog"]]}
    hub.put(REPO, {"all.parquet": table(rows)})
    found, images = images_of(ADDRESS)
    assert [each[1] for each in found] == ["cat"]
    assert len(images.unreadable) == 2


WRONG = [
    ({"picture": [b"x"]}, "", "expected a column of images; it has picture; add ?image=COLUMN to the address"),
    ({"image": of(1)}, "?label=lable", "expected a column lable; it has image"),
    ({"image": of(1), "label": [0]}, "?label=lable", "did you mean 'label'?"),
    ({"image": [1]}, "", "expected a column of images; it has ints"),
]


@pytest.mark.parametrize(("rows", "query", "message"), WRONG)
def test_wrong_column_is_an_error_that_names_those_there(hub, rows, query, message):
    hub.put(REPO, {"all.parquet": table(rows)})
    with pytest.raises(LineupError) as caught:
        images_of(ADDRESS + query)
    assert message in str(caught.value)


def test_several_configurations_are_an_error_that_names_one(hub):
    body = table({"image": of(1)})
    hub.put(REPO, {"small/train-0.parquet": body, "large/train/0.parquet": body})
    with pytest.raises(LineupError, match="it has large and small; write one: hf://datasets/me/pets/large"):
        images_of(ADDRESS)
    assert len(images_of(f"{ADDRESS}/small")[0]) == 1


def test_file_that_is_no_parquet_is_an_error(hub):
    pytest.importorskip("pyarrow")
    hub.put(REPO, {"all.parquet": b"PAR1 but no more" * 10})
    with pytest.raises(LineupError, match=r"all\.parquet: expected a Parquet file"):
        images_of(ADDRESS)


def test_missing_pyarrow_is_an_error_with_the_command(hub, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    hub.put(REPO, {"all.parquet": b"PAR1"})
    with pytest.raises(LineupError, match=r"pip install -r requirements-datasets\.txt"):
        images_of(ADDRESS)

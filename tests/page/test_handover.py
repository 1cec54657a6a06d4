"""Images that are passed from one page to another."""

import shutil
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder

from lineup.errors import ImageError
from lineup.page import handover
from lineup.page.handover import Handover, new_owner


@pytest.fixture
def upload(image):
    path = Path(get_upload_folder()) / "handover" / "image.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    yield Path(shutil.copy(image, path))
    shutil.rmtree(path.parent)


def test_an_id_returns_its_image_to_its_owner_only(upload):
    images, owner = Handover(), new_owner()
    image_id = images.give(owner, upload)
    assert images.take(owner, image_id) == images.take(owner, image_id) == upload.resolve()
    for other in (new_owner(), "", owner[:-1], owner + "x"):
        with pytest.raises(ImageError, match="image: expected an image of this browser; this link has none"):
            images.take(other, image_id)


@pytest.mark.parametrize("image_id", ["", "x", "../../etc/passwd", "\ud800", "é"])
def test_an_unknown_id_is_an_error(image_id):
    with pytest.raises(ImageError, match="this link has none"):
        Handover().take(new_owner(), image_id)


def test_empty_owner_does_not_match_an_unknown_id():
    with pytest.raises(ImageError):
        Handover().take("", "unknown")


def test_a_removed_upload_is_an_error(upload):
    images, owner = Handover(), new_owner()
    image_id = images.give(owner, upload)
    upload.unlink()
    with pytest.raises(ImageError, match="it is no longer on the server"):
        images.take(owner, image_id)


def test_ids_are_unguessable_and_bounded(upload, monkeypatch):
    monkeypatch.setattr(handover, "MAX_IMAGES", 3)
    images, owner = Handover(), new_owner()
    first, second, *_ = ids = [images.give(owner, upload) for _ in range(3)]
    assert len(set(ids)) == 3
    assert min(map(len, ids)) >= 22
    images.take(owner, first)
    images.give(owner, upload)
    assert images.take(owner, first)
    with pytest.raises(ImageError):
        images.take(owner, second)

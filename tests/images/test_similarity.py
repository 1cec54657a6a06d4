"""Images that show nearly the same, and shots of a burst."""

import numpy as np
import pytest
from drawing import draw
from PIL import ExifTags, Image

from lineup.errors import ImageError
from lineup.images import similarity


def alike(appearances):
    found = similarity.near_duplicates(appearances)
    return ((first, int(other)) for first, others, _ in found for other in others)


def pairs(paths, find=alike):
    return sorted(find([similarity.appearance(path, 40) for path in paths]))


def test_copies_that_were_changed_slightly_are_near_duplicates(tmp_path, examples):
    image = Image.open(examples[0])
    image.save(tmp_path / "0.jpg")
    image.resize((400, 320)).save(tmp_path / "1.jpg", quality=60)
    image.point(lambda value: value * 0.8).save(tmp_path / "2.png")
    Image.open(examples[1]).save(tmp_path / "3.jpg")
    assert pairs([tmp_path / name for name in ("0.jpg", "1.jpg", "2.png", "3.jpg")]) == [(0, 1), (0, 2), (1, 2)]


def test_different_photographs_are_not_near_duplicates(examples):
    assert pairs(examples) == []


@pytest.fixture
def examples(request):
    return sorted((request.config.rootpath / "examples").glob("*.jpg"))


def test_images_of_one_colour_are_like_no_other(tmp_path):
    for index, color in enumerate(("white", "black", "white")):
        Image.new("RGB", (40, 40), color).save(tmp_path / f"{index}.png")
    assert pairs([tmp_path / f"{index}.png" for index in range(3)]) == []


def test_shots_of_one_camera_within_seconds_are_a_burst(tmp_path):
    def shot(name, taken, camera="A"):
        exif = Image.Exif()
        exif[ExifTags.Base.Model] = camera
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
        Image.open(draw(tmp_path / "plain.jpg", seed=len(name))).save(tmp_path / name, exif=exif)
        return tmp_path / name

    day = "2026:11:28 10:00:"
    shots = [shot("a.jpg", f"{day}00"), shot("b.jpg", f"{day}40"), shot("c.jpg", f"{day}01"), shot("d.jpg", f"{day}02")]
    others = [shot("e.jpg", f"{day}01", "B"), shot("f.jpg", "0000:00:00 00:00:00"), draw(tmp_path / "g.jpg")]
    assert pairs([*shots, *others], similarity.bursts) == [(0, 2), (2, 3)]
    unknown = [shot(f"{index}.jpg", f"{day}00", "") for index in range(2)]
    assert pairs(unknown, similarity.bursts) == []


def test_clock_that_was_not_set_makes_no_burst():
    shot = similarity.Appearance(np.zeros(256, np.float32), "A", 1e9)
    assert len(list(similarity.bursts([shot] * similarity.MAX_AT_ONCE))) == similarity.MAX_AT_ONCE - 1
    assert list(similarity.bursts([shot] * (similarity.MAX_AT_ONCE + 1))) == []


def test_unreadable_image_has_no_appearance(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 no image")
    with pytest.raises(ImageError):
        similarity.appearance(tmp_path / "a.jpg", 40)
    assert list(alike([None, None])) == []

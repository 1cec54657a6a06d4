"""The classes of an open page: names, images that move in from uploads, limits, and what is left out."""

import io
import os
import threading
import time
import zipfile

import pytest
from PIL import Image

from lineup.errors import LineupError
from lineup.page import folder_uploads, image_classes
from lineup.page.folder_uploads import Uploads
from lineup.page.image_classes import Collections


@pytest.fixture
def pages(make_service, fakes, tmp_path):
    """The collections of a service with at most six images and 1 MB, and its uploads."""
    service = make_service("training: {max_images: 6, max_mb: 1}\nbackbones: ['fake:a']")
    return Collections(service, tmp_path / "classes"), Uploads(service, tmp_path / "up", lambda config: config.training)


def png(seed=0):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (seed, 100, 50)).save(buffer, "PNG")
    return buffer.getvalue()


def noisy_png():
    """Return an image of 0.8 MB."""
    Image.effect_noise((900, 900), 100).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def added(pages, collection, files, key=""):
    """Add files to a collection, by their names, as an upload of the page; return the sentences."""
    collections, uploads = pages
    upload = uploads.create()
    for name, data in files.items():
        uploads.add(upload, [(name, io.BytesIO(data))])
    return collections.add(collection, uploads, upload, key)


def counts(pages, collection):
    return {each.name: len(each.images) for each in pages[0].read(collection).classes}


def test_new_page_has_two_empty_classes(pages):
    assert counts(pages, pages[0].create()) == {"Class 1": 0, "Class 2": 0}


def test_sub_folders_become_classes_in_place_of_empty_ones(pages):
    collection = pages[0].create()
    files = {"zoo/cat/1.png": png(1), "zoo/cat/2.png": png(2), "zoo/dog/1.png": png(3)}
    assert added(pages, collection, files) == []
    assert counts(pages, collection) == {"cat": 2, "dog": 1}
    assert added(pages, collection, {"more/dog/1.png": png(4), "more/owl/1.png": png(5)}) == []
    assert counts(pages, collection) == {"cat": 2, "dog": 2, "owl": 1}


def test_one_folder_of_images_is_a_class_of_its_name(pages):
    collection = pages[0].create()
    added(pages, collection, {"robin/1.png": png(1), "robin/2.png": png(2)})
    assert counts(pages, collection) == {"robin": 2}


def test_zip_of_folders_becomes_classes(pages):
    collection, buffer = pages[0].create(), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cat/1.png", png(1))
        archive.writestr("dog/1.png", png(2))
    added(pages, collection, {"zoo.zip": buffer.getvalue()})
    assert counts(pages, collection) == {"cat": 1, "dog": 1}


def test_images_of_a_split_for_tests_are_held_out(pages):
    collections, collection = pages[0], pages[0].create()
    added(pages, collection, {f"zoo/{name}.png": png(seed) for seed, name in enumerate(["train/a/1", "test/a/1"])})
    added(pages, collection, {"b/1.png": png(5)})
    assert [(each.name, len(each.images), each.n_held_out) for each in collections.read(collection).classes] == [
        ("a", 2, 1),
        ("b", 1, 0),
    ]
    splits = [(image.label, image.split) for image in collections.images(collection).images]
    assert sorted(splits) == [("a", "test"), ("a", "train"), ("b", "train")]


def test_images_go_to_the_class_they_are_dropped_on_whatever_their_folders(pages):
    collection = pages[0].create()
    key = pages[0].read(collection).classes[1].key
    added(pages, collection, {"1.png": png(1), "a/2.png": png(2), "a/b/2.png": png(3)}, key)
    assert counts(pages, collection) == {"Class 1": 0, "Class 2": 3}
    added(pages, collection, {"again.png": png(1)}, key)  # the same image is one image
    assert counts(pages, collection) == {"Class 1": 0, "Class 2": 3}


def test_images_without_a_class_are_left_out_in_a_sentence(pages):
    collection = pages[0].create()
    [note] = added(pages, collection, {"1.png": png(1)})
    assert note == "1.png: it has no class; drop it on one, or put it into a folder of that name"
    assert pages[0].read(collection).n_images == 0


def test_files_that_are_not_images_and_images_of_two_classes_are_left_out_in_sentences(pages):
    collection = pages[0].create()
    files = {"zoo/cat/1.png": png(1), "zoo/cat/2.png": b"no image", "zoo/dog/1.png": png(2), "zoo/dog/2.png": png(3)}
    broken, conflict = added(pages, collection, {**files, "zoo/cat/3.png": png(3)})
    assert broken.startswith("cat/2.png: expected")
    assert conflict == "cat/3.png: it is in cat and dog"
    assert counts(pages, collection) == {"cat": 1, "dog": 1}


def test_groups_of_a_table_stay_with_their_images(pages):
    collections, collection = pages[0], pages[0].create()
    table = b"file_name,label,group\na.png,cat,1\nb.png,cat,1\nc.png,dog,\n"
    for shift in (0, 100):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("metadata.csv", table)
            for seed, name in enumerate("abc"):
                archive.writestr(f"{name}.png", png(seed + shift))
        added(pages, collection, {"zoo.zip": buffer.getvalue()})
    cat, dog = collections.read(collection).classes
    groups = {image.sha256[:32]: image.group for image in collections.images(collection).images}
    one, again, other, last = (groups[image] for image in cat.images)
    assert one == again != other == last
    assert [groups[image] for image in dog.images] == ["", ""]


def test_class_that_is_removed_during_an_upload_is_named_in_a_sentence(pages):
    collection = pages[0].create()
    key = pages[0].read(collection).classes[0].key
    pages[0].remove(collection, key)
    with pytest.raises(LineupError, match="removed while its images were on their way; add them to another one"):
        added(pages, collection, {"1.png": png(1)}, key)


def test_interrupted_upload_leaves_no_image_in_an_unknown_class(pages, monkeypatch):
    collections, collection = pages[0], pages[0].create()
    move, moved = image_classes.shutil.move, []

    def broken(*paths):
        if moved:
            raise KeyboardInterrupt
        moved.append(move(*paths))

    monkeypatch.setattr(image_classes.shutil, "move", broken)
    with pytest.raises(KeyboardInterrupt):
        added(pages, collection, {"zoo/cat/1.png": png(1), "zoo/dog/2.png": png(2)})
    assert len(collections.images(collection).images) == 1
    key = collections.add_class(collection)
    [new] = [each for each in collections.read(collection).classes if each.key == key]
    assert new.images == ()


def test_images_can_be_removed_while_others_read(pages, monkeypatch):
    collections, collection = pages[0], pages[0].create()
    key = collections.read(collection).classes[0].key
    added(pages, collection, {"1.png": png(1), "2.png": png(2)}, key)
    [first, _] = collections.read(collection).classes[0].images
    removals, unlisted = [], image_classes._files

    def listed(*arguments):
        paths = unlisted(*arguments)
        if not removals:  # another thread removes an image that is listed already
            removals.append(threading.Thread(target=collections.remove, args=(collection, key, first)))
            removals[0].start()
            removals[0].join(0.2)
        return [path for path in paths if path.stat()]

    monkeypatch.setattr(image_classes, "_files", listed)
    assert collections.read(collection).classes[0].images[0] == first
    removals[0].join()
    assert first not in collections.read(collection).classes[0].images


NAMES = ["../../etc", "a/b", "👩‍🌾 farmer", "..", "con", "naïve café", "x" * 80, "<b>bold</b>", "train"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_labels_the_images_of_a_class(pages, name, tmp_path):
    collections, _ = pages
    collection = collections.create()
    first, second = collections.read(collection).classes
    before = set(tmp_path.iterdir())
    collections.rename(collection, first.key, f"  {name} ")
    added(pages, collection, {"1.png": png(1)}, first.key)
    added(pages, collection, {"2.png": png(2)}, second.key)
    images = collections.images(collection)
    assert sorted(image.label for image in images.images) == sorted([name, "Class 2"])
    assert all(os.path.isfile(image.path) for image in images.images)
    assert set(tmp_path.iterdir()) <= before | {tmp_path / "up"}


INVISIBLE = ["\u200b", "\u200d\ufe0f", "\u00ad \u2060"]
SAME = ["Class 2", "class 2", "CLASS\u00a02", "Class 2\u200b", "Cla\u00adss 2", "\uff23lass 2", "Class \u2461"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, None, "a\0b", "\ud800", "a\u202eb", *INVISIBLE, *SAME])
def test_name_that_is_empty_too_long_or_taken_is_refused(pages, name):
    collections, _ = pages
    collection = collections.create()
    with pytest.raises(LineupError, match="expected a name"):
        collections.rename(collection, collections.read(collection).classes[0].key, name)
    assert counts(pages, collection) == {"Class 1": 0, "Class 2": 0}


def test_name_may_change_its_case(pages):
    collections, _ = pages
    collection = collections.create()
    collections.rename(collection, collections.read(collection).classes[0].key, "class 1")
    assert counts(pages, collection) == {"class 1": 0, "Class 2": 0}


def test_folders_whose_names_read_the_same_are_one_class(pages):
    collection = pages[0].create()
    added(pages, collection, {"zoo/café/1.png": png(1), "zoo/Cafe\u0301/2.png": png(2), "zoo/dog/3.png": png(3)})
    assert counts(pages, collection) == {"Café": 2, "dog": 1}
    added(pages, collection, {"more/Dog/4.png": png(4), "more/owl/5.png": png(5)})
    assert counts(pages, collection) == {"Café": 2, "dog": 2, "owl": 1}


def test_images_and_classes_are_removed_and_moved(pages):
    collections, _ = pages
    collection = collections.create()
    added(pages, collection, {"zoo/cat/1.png": png(1), "zoo/cat/2.png": png(2), "zoo/dog/1.png": png(3)})
    cat, dog = collections.read(collection).classes
    collections.move(collection, cat.key, cat.images[0], dog.key)
    assert counts(pages, collection) == {"cat": 1, "dog": 2}
    collections.remove(collection, cat.key, cat.images[1])
    assert counts(pages, collection) == {"cat": 0, "dog": 2}
    collections.remove(collection, dog.key)
    assert counts(pages, collection) == {"cat": 0}
    assert collections.add_class(collection) not in (cat.key, dog.key)
    assert counts(pages, collection) == {"cat": 0, "Class 2": 0}


def test_image_in_two_classes_counts_for_neither(pages):
    collections, _ = pages
    collection = collections.create()
    first, second = collections.read(collection).classes
    added(pages, collection, {"1.png": png(1), "2.png": png(2)}, first.key)
    added(pages, collection, {"1.png": png(1), "3.png": png(3)}, second.key)
    images = collections.images(collection)
    assert sorted(image.label for image in images.images) == ["Class 1", "Class 2"]
    assert [each["labels"] for each in images.conflicts] == [["Class 1", "Class 2"]]


def test_images_over_a_limit_are_refused_and_nothing_is_added(pages):
    collection = pages[0].create()
    key = pages[0].read(collection).classes[0].key
    added(pages, collection, {f"{seed}.png": png(seed) for seed in range(4)}, key)
    with pytest.raises(LineupError, match="at most 6 images; it would be 7"):
        added(pages, collection, {f"{seed}.png": png(seed) for seed in range(10, 13)}, key)
    noise = [noisy_png(), noisy_png()]
    added(pages, collection, {"noise.png": noise[0]}, key)
    with pytest.raises(LineupError, match=r"at most 1 MB; it would be 1\.\d MB"):
        added(pages, collection, {"noise.png": noise[1]}, key)
    assert pages[0].read(collection).n_images == 5


def test_images_that_are_there_already_take_no_room(pages):
    collection = pages[0].create()
    key = pages[0].read(collection).classes[0].key
    files = {f"{seed}.png": png(seed) for seed in range(5)}
    added(pages, collection, files, key)
    added(pages, collection, {**files, "new.png": png(5)}, key)
    assert pages[0].read(collection).n_images == 6


def test_same_image_of_another_suffix_is_one_image(pages):
    collection = pages[0].create()
    key = pages[0].read(collection).classes[0].key
    added(pages, collection, {"1.png": png()}, key)
    added(pages, collection, {"1.jpg": png()}, key)
    assert pages[0].read(collection).n_images == 1


@pytest.mark.parametrize("wrong", ["x" * 22, "../../../../etc/passwd", "", ".."])
def test_unknown_collection_class_and_image_are_refused(pages, wrong):
    collections, _ = pages
    with pytest.raises(LineupError):
        collections.read(wrong)
    collection = collections.create()
    with pytest.raises(LineupError):
        collections.add_class(wrong)
    for key in (wrong, "../1", "99"):
        with pytest.raises(LineupError):
            collections.remove(collection, key, "1")
    with pytest.raises(LineupError):
        collections.image(collections.folder(collection), wrong)


def test_collection_is_deleted_once_it_is_unused_for_long(pages):
    collections, _ = pages
    old, new = collections.create(), collections.create()
    past = time.time() - folder_uploads.KEEP_S - 1
    os.utime(collections.folder(old), (past, past))
    collections.delete_old()
    assert collections.read(new)
    with pytest.raises(LineupError):
        collections.read(old)

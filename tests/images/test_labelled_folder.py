import io
import json
import os
import re
import subprocess
import time
import tracemalloc
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lineup.errors import LineupError
from lineup.images import labelled_folder
from lineup.images.labelled_folder import folder_name, read, write

LABELS = [
    *("wren", "red panda", "Bär", "鳥", "🦉", "tench, Tinca tinca", "jack-o'-lantern", "testament", "freight_train"),
    *("a/b", "../../etc", "..", ".", "a\\b", "C:\\x", "/abs", "", "CON", "con.txt", "nul", "LPT1", "__pycache__"),
    *(
        "100%",
        ":\u0301",
        ".\u0f72\u0301",
        "%41",
        "a%2Fb",
        " wren ",
        "wren.",
        ".hidden",
        "a\0b",
        "new\nline",
        "tab\t",
        "\u202etxt.exe",
    ),
    *("train", "val", "test", "eval", "bullet train", "test tube", "x-dev-1", '"train'),
    *("a" * 300, "鳥" * 200, "%" * 100, "\U0001f469\u200d\U0001f52c", "e\u0301", "\ud800"),
]
KEYWORDS = ["train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation"]


def put(path, number=0, kind="JPEG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (number * 60 % 256, 99, 77)).save(path, kind)
    return path


def labels(folder):
    return {image.path.name: image.label for image in read(folder).images}


def problems(folder):
    return {problem.where: str(problem) for problem in read(folder).problems}


def test_sub_folders_are_labels(tmp_path):
    for number, name in enumerate(("wren/1.jpg", "wren/2.png", "owl/3.JPEG", "bear/brown bear/4.jpg")):
        put(tmp_path / name, number)
    found = read(tmp_path)
    assert [image.path.relative_to(tmp_path).as_posix() for image in found.images] == [
        "bear/brown bear/4.jpg", "owl/3.JPEG", "wren/1.jpg", "wren/2.png"
    ]  # fmt: skip
    assert [image.label for image in found.images] == ["brown bear", "owl", "wren", "wren"]
    assert found.labels == ["brown bear", "owl", "wren"]
    assert {image.split for image in found.images} == {""}
    assert found.problems == ()


@pytest.mark.parametrize(("name", "split"), [("train", "train"), ("val", "validation"), ("eval", "test")])
def test_a_level_of_splits_is_no_label(tmp_path, name, split):
    put(tmp_path / name / "wren" / "1.jpg")
    put(tmp_path / "testing" / "owl" / "2.jpg")
    put(tmp_path / "testing" / "3.jpg")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "notes.txt").write_text("no image")
    found = {image.path.name: (image.split, image.label) for image in read(tmp_path).images}
    assert found == {"1.jpg": (split, "wren"), "2.jpg": ("test", "owl"), "3.jpg": ("test", None)}


def test_a_class_named_like_a_split_is_a_class_among_others(tmp_path):
    put(tmp_path / "train" / "1.jpg")
    put(tmp_path / "bus" / "2.jpg")
    assert labels(tmp_path) == {"1.jpg": "train", "2.jpg": "bus"}


def test_images_beside_the_folders_have_no_label(tmp_path):
    put(tmp_path / "1.jpg")
    put(tmp_path / "wren" / "2.jpg")
    assert labels(tmp_path) == {"1.jpg": None, "2.jpg": "wren"}


def test_hidden_and_special_files_are_ignored(tmp_path):
    for name in (
        ".hidden/1.jpg",
        "__pycache__/2.jpg",
        "__MACOSX/3.jpg",
        "wren/.4.jpg",
        "wren/.5.partial",
        "wren/6.jpg",
    ):
        put(tmp_path / name)
    (tmp_path / "wren" / ".DS_Store").write_bytes(b"x")
    assert labels(tmp_path) == {"6.jpg": "wren"}
    assert problems(tmp_path) == {}


@pytest.mark.parametrize("file", ["metadata.jsonl", "metadata.csv", "labels.csv"])
def test_rows_of_a_metadata_file_give_labels_or_leave_those_of_folders(tmp_path, file):
    for number in range(4):
        put(tmp_path / "a" / f"{number}.jpg", number)
    rows = [("0.jpg", "wren"), ("./1.jpg", "a, b"), ("2.jpg", "")]
    text = "\n".join(json.dumps({"file_name": name, "label": label or None}) for name, label in rows)
    if file.endswith("csv"):
        text = '\ufefffile_name,more,label\r\n0.jpg,x,wren\r\n./1.jpg,x,"a, b"\r\n2.jpg,x,\r\n'
    (tmp_path / "a" / file).write_text(text, encoding="utf-8")
    assert labels(tmp_path) == {"0.jpg": "wren", "1.jpg": "a, b", "2.jpg": "a", "3.jpg": "a"}
    assert problems(tmp_path) == {}


LAYOUTS = [  # files, their labels and splits
    ({"Train/owl/1.jpg": "owl train", "TEST/wren/2.jpg": "wren test"}, "capital splits"),
    ({"TRAIN/1.jpg": "None train", "Valid/2.jpg": "None validation"}, "splits alone"),
    ({"set/train/owl/1.jpg": "owl train", "set/val/owl/2.jpg": "owl validation"}, "a folder around splits"),
    ({"a/b/owl/1.jpg": "owl ", "a/b/wren/2.jpg": "wren "}, "folders around labels"),
    ({"pets/owl/1.jpg": "owl ", "pets/owl/2.jpg": "owl "}, "a folder around one label"),
    ({"owl/train/1.jpg": "owl train", "wren/test/2.jpg": "wren test"}, "splits within labels"),
    ({"training_set/owl/1.jpg": "owl train", "test_set/owl/2.jpg": "owl test"}, "splits in longer names"),
    ({"seg_train/seg_train/sea/1.jpg": "sea train", "seg_test/seg_test/sea/2.jpg": "sea test"}, "splits twice"),
    ({"bullet train/1.jpg": "bullet train ", "test tube/2.jpg": "test tube "}, "labels with words of splits"),
    ({"owl/images/1.jpg": "owl ", "wren/images/2.jpg": "wren "}, "images within labels"),
    ({"train/owl/images/1.jpg": "owl train", "val/images/2.jpg": "None validation"}, "as Tiny ImageNet"),
    ({"images/1.jpg": "None ", "images/2.jpg": "None "}, "images alone"),
    ({"images/1.jpg": "images ", "logos/2.jpg": "logos "}, "a label called images"),
    ({"owl /1.jpg": "owl ", "owl/2.jpg": "owl "}, "a space at the end"),
    ({"__owl.jpg": "None ", "wren/__1.jpg": "wren "}, "files that begin with underscores"),
]


@pytest.mark.parametrize(("files", "kind"), LAYOUTS, ids=[kind for _, kind in LAYOUTS])
def test_levels_of_folders_are_told_apart(tmp_path, files, kind):
    for number, name in enumerate(files):
        put(tmp_path / name, number)
    found = {
        image.path.relative_to(tmp_path).as_posix(): f"{image.label} {image.split}" for image in read(tmp_path).images
    }
    assert found == files


@pytest.mark.parametrize("file_name", ["filename", "image", "path", " File_Name", "File Path", "image_id", "file"])
@pytest.mark.parametrize("label", ["class", "category", "Label", "class_name", "Species"])
def test_columns_may_have_other_usual_names(tmp_path, file_name, label):
    put(tmp_path / "0.jpg")
    (tmp_path / "x.csv").write_text(f"no,{label},{file_name}\n7,wren,0.jpg\n")
    assert labels(tmp_path) == {"0.jpg": "wren"}
    (tmp_path / "x.csv").unlink()
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"no": 7, file_name: "0.jpg", label: "wren"}))
    assert labels(tmp_path) == {"0.jpg": "wren"}


TABLES = {
    "labels.csv": ["file;label\r\n1.jpg;owl\r\nb/2.jpg;wren\r\n", "sep=;\nfile;label\n1.jpg;owl\nb/2.jpg;wren\n"],
    "Labels.CSV": ["photo,what\n1.jpg,owl\nb/2.jpg,wren\n", "1.jpg,owl\nb/2.jpg,wren\n", "id,breed\n1,owl\n2,wren\n"],
    "labels.tsv": ["file\tlabel\n1.jpg\towl\nb/2.jpg\twren\n"],
    "b/labels.csv": ["file,label\n../1.jpg, owl \n2.jpg,wren\n"],
    "c/labels.csv": ["file,label\n1.JPG,owl\nB/2.jpg,wren\n", ",file,label\n0,1.jpg,owl\n1,2.jpg,wren\n"],
    "x.csv": [
        "file,label\n/home/me/set/1.jpg,owl\nC:\\set\\b\\2.jpg,wren\n",
        "image_id,label\nset/1.jpg,owl\n2,wren\n",
    ],
    "some.jsonl": ['{"file": "1.jpg", "label": "owl"}\n{"path": "2.jpg", "class": "wren"}\n'],
}
WRITTEN = [(name, text) for name, texts in TABLES.items() for text in texts]


@pytest.mark.parametrize(("name", "text"), WRITTEN)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_metadata_files_are_read_as_people_write_them(tmp_path, name, text, encoding):
    put(tmp_path / "1.jpg")
    put(tmp_path / "b" / "2.jpg", 1)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text.replace("owl", "Käuzchen"), encoding=encoding, newline="")
    assert labels(tmp_path) == {"1.jpg": "Käuzchen", "2.jpg": "wren"}
    assert problems(tmp_path) == {}


def test_rows_never_name_a_file_by_chance(tmp_path):
    put(tmp_path / "owl" / "1.jpg")
    put(tmp_path / "wren" / "1.jpg", 1)
    put(tmp_path / "wren" / "2.jpg", 2)
    (tmp_path / "training.csv").write_text("epoch,loss\n2,0.3\n")
    (tmp_path / "others.csv").write_text("file,label\n1.jpg,bat\nbear/2.jpg,bat\ngone/2,bat\n")
    (tmp_path / "columns.csv").write_text("file,owl,wren\nwren/2.jpg,0,1\n")
    assert labels(tmp_path) == {"1.jpg": "wren", "2.jpg": "wren"}
    found = problems(tmp_path)
    assert found.keys() == {"training.csv", "others.csv", "columns.csv"}
    assert "3 rows name others, such as '1.jpg'" in found["others.csv"]
    assert "there is no column called label; its columns are file, owl, wren" in found["columns.csv"]


@pytest.mark.long
def test_a_million_rows_are_read_in_bounded_memory(tmp_path):
    put(tmp_path / "7.jpg")
    with (tmp_path / "labels.csv").open("w") as file:
        file.write("file_name,label\n")
        file.writelines(f"{number}.jpg,owl {number}\n" for number in range(1_000_000))
    tracemalloc.start()
    try:
        found = read(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert [image.label for image in found.images] == ["owl 7"]
    assert "999999 rows name others" in str(found.problems[0])


def test_metadata_in_the_top_folder_names_files_below_it(tmp_path):
    put(tmp_path / "images" / "0.jpg")
    put(tmp_path / "images" / "1.jpg", 1)
    rows = [{"file_name": "images/0.jpg", "label": 7}, {"file_name": "images\\1.jpg", "label": "ow\ud800l"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert labels(tmp_path) == {"0.jpg": "7", "1.jpg": "ow?l"}


def test_an_image_with_several_labels_is_left_out(tmp_path):
    for number in range(3):
        put(tmp_path / f"{number}.jpg", number)
    rows = [("0.jpg", ["owl", "wren"]), ("1.jpg", "owl"), ("1.jpg", "wren"), ("2.jpg", ["owl"])]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps({"file_name": a, "label": b}) for a, b in rows))
    assert labels(tmp_path) == {"2.jpg": "owl"}
    assert problems(tmp_path) == {
        name: f"{name}: expected one label; got owl, wren; choose one" for name in ("0.jpg", "1.jpg")
    }


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("metadata.jsonl", b"[" * 100_000, "maximum recursion depth"),
        ("metadata.jsonl", b'{"file_name": "0.jpg", "label": "owl"', "Expecting ',' delimiter"),
        ("metadata.jsonl", b'{"text": "0.jpg is it"}', "row 1 has no file_name"),
        ("metadata.jsonl", b'["0.jpg"]', "row 1 has no file_name"),
        ("metadata.jsonl", b"\xff\xfe\x00", "codec can't decode"),
        ("metadata.csv", b"what,label\n0,owl\n", "row 1 has no file_name; its columns are what, label"),
        ("metadata.csv", b'file_name,label\n"' + b"x" * 200_000, "field larger than field limit"),
        ("metadata.csv", b"file_name,label\n0.jpg,\xff\x81\n", "codec can't decode"),
        (
            "metadata.csv",
            b"file_name,label\n../../etc/passwd,owl\n/etc/passwd,owl\ngone.jpg,owl\n",
            "3 rows name others, such as '../../etc/passwd'",
        ),
    ],
)
def test_an_invalid_metadata_file_is_listed_and_the_images_stay(tmp_path, file, content, reason):
    put(tmp_path / "wren" / "0.jpg")
    (tmp_path / file).write_bytes(content)
    assert labels(tmp_path) == {"0.jpg": "wren"}
    assert problems(tmp_path).keys() == {file}
    assert reason in problems(tmp_path)[file]


def test_what_is_no_image_is_listed_with_a_reason(tmp_path):
    put(tmp_path / "wren" / "0.jpg")
    (tmp_path / "wren" / "notes.txt").write_text("notes")
    (tmp_path / "wren" / "empty.jpg").write_bytes(b"")
    (tmp_path / "wren" / "page.png").write_text("<html>")
    (tmp_path / "wren" / "gone.jpg").symlink_to("nothing.jpg")
    os.mkfifo(tmp_path / "wren" / "pipe.jpg")
    found = problems(tmp_path)
    assert found.keys() == {f"wren/{name}" for name in ("notes.txt", "empty.jpg", "page.png", "gone.jpg", "pipe.jpg")}
    assert "it is a web page; download the image itself" in found["wren/page.png"]
    assert "it is a device or a broken link" in found["wren/pipe.jpg"]
    assert labels(tmp_path) == {"0.jpg": "wren"}


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    outside, folder = put(tmp_path / "outside" / "secret.jpg"), tmp_path / "folder"
    put(folder / "wren" / "1.jpg", 1)
    (folder / "wren" / "2.jpg").symlink_to(outside)
    (folder / "wren" / "3.jpg").symlink_to(os.path.relpath(outside, folder / "wren"))
    (folder / "owl").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "owls").mkdir()
    (folder / "owls" / "4.jpg").symlink_to(folder / "wren" / "1.jpg")
    assert labels(folder) == {"1.jpg": "wren", "4.jpg": "owls"}
    assert problems(folder).keys() == {"wren/2.jpg", "wren/3.jpg", "owl", "loop", "self"}


def test_a_linked_folder_can_be_read_itself(tmp_path):
    put(tmp_path / "folder" / "wren" / "1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert labels(tmp_path / "link") == {"1.jpg": "wren"}


def test_deep_nesting_is_read_to_the_end(tmp_path):
    folder = tmp_path
    for _ in range(1200):
        folder /= "d"
        folder.mkdir()
    put(folder / "1.jpg")
    try:
        assert labels(tmp_path) == {"1.jpg": "d"}
    finally:
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # shutil.rmtree would exceed Python's recursion limit


def test_names_that_are_not_utf_8_have_a_printable_label(tmp_path):
    name = os.fsdecode(b"w\xffren")
    put(tmp_path / name / "1.jpg")
    (tmp_path / name / "x.txt").write_text("")
    assert labels(tmp_path) == {"1.jpg": "w�ren"}
    assert problems(tmp_path).keys() == {"w�ren/x.txt"}


@pytest.mark.parametrize(("name", "got"), [("gone", "there is no such folder"), ("file", "it is a file")])
def test_what_is_no_folder_is_an_error(tmp_path, name, got):
    (tmp_path / "file").write_text("")
    with pytest.raises(LineupError, match=f"expected a folder of images; {got}; check the path"):
        read(tmp_path / name)


def test_duplicates_are_found_by_content(tmp_path):
    for number, name in enumerate(("a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg")):
        put(tmp_path / name, number % 2)
    found = read(tmp_path)
    groups = [[image.path.name for image in group] for group in found.duplicates]
    assert groups == [["1.jpg", "3.jpg"], ["2.jpg", "4.jpg"]]
    assert {image.label for image in found.duplicates[0]} == {"a", "b"}


def test_ten_thousand_files_are_read_in_seconds(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    for label in range(100):
        (tmp_path / f"class {label}").mkdir()
        for number in range(100):
            path = tmp_path / f"class {label}" / f"{number}.jpg"
            path.write_bytes(buffer.getvalue() + f"{label} {number}".encode())
    rows = (f"class {label}/{number}.jpg,owl {label}\n" for label in range(100) for number in range(100))
    (tmp_path / "metadata.csv").write_text("file_name,label\n" + "".join(rows))
    started = time.process_time()
    found = read(tmp_path)
    assert time.process_time() - started < 15
    assert (len(found.images), len(found.labels), found.problems, found.duplicates) == (10_000, 100, (), [])


@pytest.mark.parametrize("label", LABELS, ids=ascii)
def test_a_written_label_comes_back_from_a_safe_name(tmp_path, label):
    image = Image.new("RGB", (8, 8), "red")
    if not label:
        with pytest.raises(LineupError, match="label: expected a label; it is empty; name the class"):
            write(tmp_path / "out", label, image)
        return
    path = write(tmp_path / "out", label, image)
    assert path.parent.parent == tmp_path / "out"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    [found] = read(tmp_path / "out").images
    assert found.label == {"e\u0301": "é", "\ud800": "?"}.get(label, label)
    assert read(tmp_path / "out").problems == ()


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=100))
@example("%65val")
@example("con" * 70)
@example("鳥" * 67)
def test_every_label_has_a_name_of_its_own_that_a_file_system_takes(label):
    name = folder_name(label)
    assert 0 < len(name.encode()) <= labelled_folder.MAX_NAME_BYTES
    assert name.isprintable()
    assert not re.search(r'[/\\:*?"<>|]', name)
    assert not name.startswith(("__", ".", " "))
    assert name[-1] not in ". "
    assert not is_split(name)


def is_split(name):
    """Tell whether `datasets` takes a folder for a split, by its patterns for folders."""
    return any(
        fnmatch(name, pattern.format(keyword))
        for keyword in KEYWORDS
        for pattern in ("{}", "{}[-._ 0-9]*", "*[-._ 0-9]{}", "*[-._ 0-9]{}[-._ 0-9]*")
    )


@pytest.mark.parametrize(
    "label", ["wren", "red panda", "Bär", "鳥", "🦉", "tench, Tinca tinca", "jack-o'-lantern", "testament"]
)
def test_ordinary_labels_are_their_own_names(label):
    assert folder_name(label) == label


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("CON", "%43ON"),
        ("nul.txt", "%6Eul.txt"),
        ("a:b", "a%3Ab"),
        ("..", "%2E%2E"),
        ("bullet train", "bullet trai%6E"),
        ("x-val-2", "x-va%6C-2"),
        ("a" * 201, f"{'a' * 183}%{'00' * 8}"),
    ],
)
def test_unsafe_labels_have_encoded_names(label, name):
    assert re.sub("%[0-9a-f]{16}$", f"%{'00' * 8}", folder_name(label)) == name


def test_encoded_names_differ_from_labels_that_look_like_them():
    names = [folder_name(label) for label in ("a/b", "a%2Fb", "a%252Fb")]
    assert names == ["a%2Fb", "a%252Fb", "a%25252Fb"]


def test_a_name_that_others_encoded_in_part_is_kept(tmp_path):
    for number, name in enumerate(("50% off", "a%zz", "a%61", "%ff")):
        put(tmp_path / name / f"{number}.jpg", number)
    assert set(labels(tmp_path).values()) == {"50% off", "a%zz", "a%61", "%ff"}


def test_a_written_image_has_no_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x010E], exif[0x8825] = "a description", {1: "N", 2: (52.0, 31.0, 0.0)}
    source = tmp_path / "source.jpg"
    Image.new("RGB", (64, 48), "green").save(source, exif=exif, comment=b"home", icc_profile=b"icc" * 50, dpi=(72, 72))
    with Image.open(source) as image:
        image.load()
        path = write(tmp_path / "out", "wren", image)
    with Image.open(path) as written:
        assert (written.size, written.mode, dict(written.getexif())) == ((64, 48), "RGB", {})
        assert not written.info.keys() & {"exif", "comment", "icc_profile", "xmp", "dpi"}
    assert b"home" not in path.read_bytes()
    assert re.fullmatch("[0-9a-f]{32}", path.stem)


def test_the_same_image_twice_is_one_file(tmp_path):
    first, second = (write(tmp_path, "wren", Image.new("RGB", (8, 8), "red")) for _ in range(2))
    other = write(tmp_path, "wren", Image.new("RGB", (8, 8), "blue"))
    assert first == second != other
    assert sorted((tmp_path / "wren").iterdir()) == sorted([first, other])


def test_an_interrupted_write_leaves_no_image(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, "wren", Image.new("RGB", (8, 8)))
    monkeypatch.undo()
    assert (list((tmp_path / "wren").iterdir()), read(tmp_path).images, read(tmp_path).problems) == ([], (), ())


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LineupError, match=r"expected a folder for images; writing failed \(Not a directory\)"):
        write(tmp_path / "file", "wren", Image.new("RGB", (8, 8)))

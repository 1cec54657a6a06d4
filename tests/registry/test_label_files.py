"""Label files in the formats that exist: what is read, and what is refused."""

import csv
import io
import json
import re
import time

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lineup.errors import BackboneError
from lineup.registry import label_files

WNIDS = "n01440764 tench, Tinca tinca\nn01484850 great white shark, white shark\n"
PETS = ["cat", "dog", "bird"]
DIGITS = [str(digit) for digit in range(10)]


def names(folder, data, suffix=".txt"):
    """Return the names in a label file with this content."""
    return [label.name for label in read(folder, data, suffix).labels]


def read(folder, data, suffix=".txt"):
    path = folder / f"a{suffix}"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return label_files.read(path)


def refusal(folder, data, suffix=".txt"):
    with pytest.raises(BackboneError) as caught:
        read(folder, data, suffix)
    return str(caught.value)


PETS_FILES = {
    "lines": "cat\ndog\nbird\n",
    "windows": "cat\r\ndog\r\nbird\r\n",
    "old mac": "cat\rdog\rbird",
    "margins": " cat\ndog \n\tbird\n\n \n",
    "utf-8 mark": "\ufeffcat\ndog\nbird",
    "utf-16": "cat\ndog\nbird".encode("utf-16"),
    "utf-16 big endian": b"\xfe\xff" + "cat\ndog\nbird".encode("utf-16-be"),
    "comments": "# my pets\n// three\ncat\ndog\n# one more\nbird",
    "heading": "names:\ncat\ndog\nbird",
    "bullets": "- cat\n- dog\n- bird",
    "trailing commas": "cat,\ndog,\nbird",
    "quotes": "'cat'\n'dog'\n'bird'",
    "typographic quotes": "“cat”\n“dog”\n“bird”",
    "json list": '["cat", "dog", "bird"]',
    "json by line": '["cat",\n"dog",\n"bird"]\n',
    "json without brackets": '"cat",\n"dog",\n"bird"\n',
    "python by line": "'cat',\n'dog',\n'bird'\n",
    "python": "['cat', 'dog', 'bird']",
    "python, assigned": "classes = [\n    'cat',  # tom\n    \"dog\",\n    'bird',\n]\n",
    "python tuple": "CLASSES: tuple = ('cat', 'dog', 'bird')",
    "python pairs": "[(2, 'bird'), (0, 'cat'), (1, 'dog')]",
    "numpy": "array(['cat', 'dog', 'bird'], dtype='<U4')",
    "javascript": 'const labels = ["cat", "dog", "bird"];',
    "without quotes": "[cat, dog, bird]",
    "python dict": "{2: 'bird', 0: 'cat', 1: 'dog'}",
    "python dict by line": "0: 'cat',\n2: 'bird',\n1: 'dog',\n",
    "id2label": '{"2": "bird", "0": "cat", "1": "dog"}',
    "class_to_idx": '{"bird": 2, "cat": 0, "dog": 1}',
    "imagenet_class_index": '{"1": ["n01", "dog"], "0": ["n00", "cat"], "2": ["n02", "bird"]}',
    "json records": '[{"id": 2, "name": "bird"}, {"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]',
    "json lines": '{"id": 1, "name": "dog"}\n{"id": 0, "name": "cat"}\n{"id": 2, "name": "bird"}\n',
    "transformers": '{"id2label": {"0": "cat", "1": "dog", "2": "bird"}, "label2id": {"cat": 0}, "model_type": "vit"}',
    "timm": '{"architecture": "vit", "label_names": ["cat", "dog", "bird"], "pretrained_cfg": {"tag": "in1k"}}',
    "datasets": '{"default": {"features": {"label": {"names": ["cat", "dog", "bird"], "_type": "ClassLabel"}}}}',
    "space": "0 cat\n2 bird\n1 dog",
    "colon": "1: dog\n0: cat\n2: bird",
    "comma": "2,bird\n0,cat\n1,dog\n",
    "tab": "2\tbird\n0\tcat\n1\tdog\n",
    "semicolon": "2;bird\n0;cat\n1;dog\n",
    "brackets": "[2] bird\n[0] cat\n[1] dog",
    "arrow": "2 -> bird\n0 -> cat\n1 -> dog",
    "numbered list": "0. cat\n1. dog\n2. bird",
    "class n": "class 2: bird\nclass 0: cat\nclass 1: dog",
    "padded": "002 bird\n000 cat\n001 dog",
    "index last": "bird 2\ncat 0\ndog 1",
    "index after a colon": "bird: 2\ncat: 0\ndog: 1",
    "yaml in a text file": "path: x\nnc: 3\nnames: [cat, dog, bird]",
}
PETS_OF_SUFFIX = [
    (".yaml", "- cat\n- dog\n- bird"),
    (".yml", "2: bird\n0: cat\n1: dog"),
    (".yaml", "path: pets\ntrain: images\nnc: 3\nnames:\n  0: cat\n  1: dog\n  2: bird\n"),
    (".yaml", "nc: 3\nnames: ['cat', 'dog', 'bird']\nroboflow: {license: MIT}\n"),
    (".yaml", "- cat: 0\n- bird: 2\n- dog: 1\n"),
    (".csv", "cat\ndog\nbird"),
    (".csv", "name\ncat\ndog\nbird"),
    (".csv", "id,name\n2,bird\n0,cat\n1,dog"),
    (".csv", "name,id\nbird,2\ncat,0\ndog,1"),
    (".csv", "class,label\n2,bird\n0,cat\n1,dog"),
    (".csv", "Class ID;Class Name\n2;bird\n0;cat\n1;dog"),
    (".csv", ",name,supercategory\n2,bird,animal\n0,cat,pet\n1,dog,pet"),
    (".csv", "2,bird\n0,cat\n1,dog"),
    (".csv", "2,bird,\r\r\n0,cat,\r\r\n1,dog,\r\r\n"),  # written on Windows, with an empty column
    (".tsv", "id\tname\n2\tbird\n0\tcat\n1\tdog"),
    (".csv", "id\tname\r\n2\tbird\r\n0\tcat\r\n1\tdog".encode("utf-16")),
    (".py", "import os\n\nCLASSES = ['cat', 'dog', 'bird']\n"),
    (".json", "{'bird': 2, 'cat': 0, 'dog': 1}"),
]


@pytest.mark.parametrize("data", PETS_FILES.values(), ids=PETS_FILES)
def test_label_file_is_read_in_the_order_of_its_indices(tmp_path, data):
    assert names(tmp_path, data) == PETS


@pytest.mark.parametrize(("suffix", "data"), PETS_OF_SUFFIX)
def test_label_file_with_a_known_suffix_is_read(tmp_path, suffix, data):
    assert names(tmp_path, data, suffix) == PETS


NAMES_AS_THEY_ARE = {
    "digits": DIGITS,
    "folders in the order of text": ["0", "1", "10", "11", "2"],
    "first a number": ["3d printer", "7 up", "101 dalmatians"],
    "only numbers first": ["7 up", "101 dalmatians"],
    "coins": ["1 cent", "2 cent", "5 cent", "1 euro", "2 euro", "none"],
    "counts": ["0 fingers", "1 finger", "2 fingers", "3 fingers"],
    "stages": ["healthy", "stage 1", "stage 2", "stage 3"],
    "grades": ["grade 0", "grade 1", "grade 2"],
    "versions": ["Windows 10", "Ubuntu 22", "macOS 14"],
    "commas": ["great white shark, white shark", "tench, Tinca tinca", "hen"],
    "one comma each": ["cock, rooster", "hen, chicken"],
    "years": ["Paris, 2024", "London, 2012"],
    "birds of CUB": ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"],
    "folders": ["0_cat", "10_dog", "1_bird"],
    "tokens": ["[PAD]", "[UNK]", "(none)"],
    "marks": ["C#", 'the "best" one', "it's", "a: b", "x = y", "50% off", "naïve, café"],
    "words of yaml": ["no", "yes", "null", "1:30", "1e3", "~"],
}


@pytest.mark.parametrize("expected", NAMES_AS_THEY_ARE.values(), ids=NAMES_AS_THEY_ARE)
def test_names_line_by_line_stay_as_they_are(tmp_path, expected):
    assert names(tmp_path, "\n".join(expected) + "\n") == expected
    assert names(tmp_path, json.dumps(expected), ".json") == expected
    assert names(tmp_path, yaml.safe_dump(expected, allow_unicode=True), ".yaml") == expected


def test_words_of_yaml_stay_names_without_quotes(tmp_path):
    assert names(tmp_path, "names: [no, yes, null, 1:30, 010]", ".yaml") == ["no", "yes", "null", "1:30", "010"]


def test_wordnet_ids_before_names_are_the_ids(tmp_path):
    expected = [("n01440764", "tench, Tinca tinca"), ("n01484850", "great white shark, white shark")]
    indexed = "".join(f"{i} {line}\n" for i, line in enumerate(WNIDS.splitlines()))
    for text in (WNIDS, WNIDS.replace(" ", "\t", 1).replace("850 ", "850\t"), indexed):
        assert [(label.id, label.name) for label in read(tmp_path, text).labels] == expected
    rows = "index,wnid,name\n1,n01484850,b\n0,n01440764,a\n"
    assert [(label.id, label.name) for label in read(tmp_path, rows, ".csv").labels] == [
        ("n01440764", "a"),
        ("n01484850", "b"),
    ]


def test_same_name_twice_is_allowed_in_a_large_set(tmp_path):
    lines = [f"{index} {name}" for index, name in enumerate(["crane", *map(chr, range(97, 123)), "crane"])]
    assert names(tmp_path, "\n".join(reversed(lines)))[::27] == ["crane", "crane"]


@pytest.mark.parametrize(
    ("suffix", "data", "origin"),
    [
        (".txt", "cat\ndog", "a.txt"),
        (".txt", "1,dog\n0,cat", "a.txt, by its numbers"),
        (".txt", "name\ncat\ndog", "a.txt, without its heading 'name'"),
        (".csv", "id,name\n1,dog\n0,cat", "a.csv, by its column 'id'"),
        (".json", '{"x": {"class_to_idx": {"cat": 0}}}', "a.json, by its class_to_idx"),
    ],
)
def test_origin_says_what_decides_the_order(tmp_path, suffix, data, origin):
    assert read(tmp_path, data, suffix).origin == origin


REFUSED = [
    (".txt", "", "line 1 is empty"),
    (".txt", "\ncat", "line 1 is empty"),
    (".txt", "# pets\ncat\n\t\ndog", "line 3 is empty"),
    (".txt", "# pets", "there is none"),
    (".txt", "1 cat\n2 dog\n3 bird", "they are numbered from 1 to 3, which leaves open which output is the first"),
    (".txt", "0 cat\n1 dog\n3 bird", "there is none for 2, and the last one is 3"),
    (".txt", "0 cat\n0 dog\n1 bird", "index 0 is that of 'cat' and of 'dog'"),
    (".txt", "0 cat\n1 dog\nbird\n3 fish", "3 of 4 lines begin with a number, and 'bird' does not"),
    (".txt", "3\t0\n0\t1\n1\t2\n2\t3", "both may be the index: '3' has '0'"),
    (
        ".txt",
        "\n".join(sorted(f"{i} {chr(97 + i)}" for i in range(11))),
        "the number in '0 a' may be an index, or part",
    ),
    (".txt", "2 doors\n0 doors\n1 door", "the number in '2 doors' may be an index, or part of the name"),
    (".txt", "bird 3\ncat 1\ndog 2", "the number in 'bird 3' may be an index, or part of the name"),
    (".txt", "n02119789 1 kit_fox\nn02100735 2 English_setter", "numbered from 1 to 2"),
    (".txt", "cat, dog, bird", "got 'cat, dog, bird' in one line"),
    (".txt", "cat\ncat\ndog\ndog", "of 4 names, 2 are different; list the classes, not the images"),
    (".txt", "{'cat', 'dog'}", "got a set, which has no order"),
    (".txt", "['cat', 'dog' 'bird']", "one is missing in line 1"),
    (".txt", "[\n'cat',\n'dog',", "expected a list or a mapping in JSON, YAML or Python; it is none of them"),
    (".py", "a = ['x']\nb = ['y']", "got 2 lists; keep one of them"),
    (".py", "print('x')", "it is none of them"),
    (".json", '{"0": "cat", "0": "dog"}', "index 0 is that of 'cat' and of 'dog'"),
    (".json", '{"0": "cat", "2": "dog"}', "there is none for 1, and the last one is 2"),
    (".json", '{"1": "cat", "2": "dog"}', "numbered from 1 to 2"),
    (".json", '{"0": "cat", "x": "dog"}', "'x' has 'dog'"),
    (".json", '{"cat": "dog"}', "'cat' has 'dog'"),
    (".json", '{"0": "1", "1": "2", "2": "0"}', "both may be the index: '0' has '1'"),
    (".json", '{"1": 0, "10": 1, "2": 2}', "both may be the index: '1' has '0'"),
    (".json", '{"names": ["a", "b"], "classes": ["b", "a"]}', "names and classes differ"),
    (".json", '{"0": ["a", "b"], "1": ["c", "d"]}', "it could be column 2 or 3"),
    (".json", '["cat", null]', "got 'None' for one"),
    (".json", '["cat", ""]', "that of class 1 is empty"),
    (".json", '["a\\u0000", "b"]', "that of class 0 is 'a\\x00'"),
    (".json", '["a\\ud800", "b"]', "that of class 0 is 'a\\ud800'"),
    (".json", '[{"id": 0, "name": "a"}, {"id": 1}]', "for one; keep one column"),
    (".json", "[]", "it is empty"),
    (".json", '["cat"', "line 1, column 7: Expecting ',' delimiter"),
    (".json", "[" * 100_000, "it is none of them"),
    (".yaml", "cat\ndog", "expected a list or a mapping in YAML"),
    (".yaml", "names: [a", "line 1: expected ',' or ']'"),
    (".yaml", "a: &x [b]\nc: *x", "line 2: the alias *x; write the value out"),
    (".csv", "id,name\n1,cat\n2,dog", "column 'id': expected the class indices 0 to 1, as there are 2 names; they are"),
    (".csv", "class,rank\ncat,1\ndog,0", "column 'rank' has such numbers, under a heading that says something else"),
    (".csv", "name,count\ncat,500\ndog,300", "the only numbers are in column 'count'"),
    (".csv", "name,count\ncat,2\ndog,0\nowl,1", "the only numbers are in column 'count'"),
    (".csv", "cat,pet\nhen,bird", "it could be column 1 or 2"),
    (".csv", "cat,dog,bird", "got one line with 3 columns"),
    (".csv", "id,name\n0,great white shark, white shark\n1,hen", "put names with commas in quotes"),
    (".csv", "0,3\n1,2\n2,0\n3,1", "both may be the index: '0' has '3'"),
    (".csv", "id,index,c\n0,1,x\n1,0,y", "it could be column 'id' or 'index'"),
    (".csv", "image,label\na.jpg,cat\nb.jpg,cat\nc.jpg,dog", "it could be column 1 or 2"),
    (".txt", "Grünspecht".encode("latin-1"), "byte 0xfc in line 1 is not valid UTF-8; save it again as UTF-8"),
    (".txt", "cat\ndog".encode("utf-16-le"), "binary, or UTF-16 without a byte order mark"),
    (".txt", b"\xff\xfec", "in line 1 is not valid UTF-16"),
    (".xlsx", b"PK\x03\x04\x14\0", "it is a ZIP archive, such as an Excel workbook"),
    (".png", b"\x89PNG\r\n\x1a\n", "it is a PNG image"),
    (".txt", b"\x80\x04\x95\x10\0", "it is a pickle"),
    (".pkl", b"(lp0\nVcat\np1\na.", "it is a pickle"),
    (".npy", b"\x93NUMPY\x01\0", "it is an array of NumPy"),
    (".txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0", "fetch the file with `git lfs pull`"),
    (".txt", "<!DOCTYPE html>\n<html>", "it is an HTML or XML document"),
    (".pbtxt", "item {\n  id: 1\n  name: 'cat'\n}", "it is a label map of TensorFlow"),
    (".txt", b"a" * (label_files.MAX_BYTES + 1), "expected at most 5 MB of names; the file is larger"),
    (".txt", b"a" * 1001, "that of class 0 is 'aaa"),
]


@pytest.mark.parametrize(("suffix", "data", "message"), REFUSED)
def test_doubtful_label_file_is_refused_by_name(tmp_path, suffix, data, message):
    text = refusal(tmp_path, data, suffix)
    assert text.startswith(f"labels: a{suffix}: ")
    assert message in text
    assert "Error" not in text


def test_missing_label_file_and_folder_are_an_error(tmp_path):
    with pytest.raises(BackboneError, match=r"none.txt does not exist; check the path; names themselves are a list"):
        label_files.read(tmp_path / "none.txt")
    with pytest.raises(BackboneError, match="Is a directory; check the path"):
        label_files.read(tmp_path)
    with pytest.raises(BackboneError, match="no valid path; check the path"):
        label_files.read(tmp_path / "\0")


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".json", json.dumps([f"name {index}" for index in range(22_000)])),
        (".txt", "".join(f"{index} name {index}\n" for index in range(22_000))),
        (".csv", "".join(f"{index},name {index}\n" for index in range(22_000))),
        (".yaml", "[" * 200_000),
        (".txt", "classes = " + "[" * 200_000),
        (".txt", "- " * 200_000),
        (".yaml", "a" * 1_000_001),
    ],
)
def test_large_and_nested_files_take_bounded_time(tmp_path, suffix, text):
    started = time.process_time()
    try:
        assert len(names(tmp_path, text, suffix)) == 22_000
    except BackboneError:
        assert "name" not in text
    assert time.process_time() - started < 10


PRINTABLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
NAMES = st.text(PRINTABLE, min_size=1, max_size=12).map(lambda name: " ".join(name.split())).filter(bool)
LISTS = st.lists(NAMES, min_size=2, max_size=12, unique=True)
PLAIN_NAMES = st.from_regex(r"[a-zäé][a-zäé' ,.()-]{0,8}[xyz]", fullmatch=True).map(lambda name: " ".join(name.split()))
PLAIN_LISTS = st.lists(PLAIN_NAMES, min_size=2, max_size=12, unique=True)


def table(classes, delimiter=",", header=("id", "name")):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([header, *classes])
    return file.getvalue()


FORMATS = [
    (".json", lambda classes: json.dumps([name for _, name in sorted(classes)])),
    (".json", lambda classes: json.dumps({"id2label": dict(classes)}, ensure_ascii=False)),
    (".json", lambda classes: json.dumps({"class_to_idx": {name: index for index, name in classes}})),
    (".txt", lambda classes: f"names = {[name for _, name in sorted(classes)]!r}"),
    (".py", lambda classes: f"id2label = {dict(classes)!r}"),
    (".yaml", lambda classes: yaml.safe_dump([name for _, name in sorted(classes)], allow_unicode=True)),
    (".yaml", lambda classes: yaml.safe_dump({"nc": len(classes), "id2label": dict(classes)})),
    (".csv", table),
    (".csv", lambda classes: table(classes, ";")),
    (".csv", lambda classes: table([(name, index) for index, name in classes], header=("class_name", "class_id"))),
    (".tsv", lambda classes: table(classes, "\t")),
]
PLAIN_FORMATS = [
    lambda classes: "\n".join(name for _, name in sorted(classes)),
    lambda classes: "\r\n".join(f"{index} {name}" for index, name in sorted(classes)),
    lambda classes: "\n".join(f"{index}: {name}" for index, name in classes),
    lambda classes: "\n".join(f"{index},{name}" for index, name in classes),
    lambda classes: "\n".join(f"{name}\t{index}" for index, name in classes),
    lambda classes: "\n".join(f"'{name}'," for _, name in sorted(classes)),
]


@given(data=st.data(), expected=LISTS, which=st.sampled_from(FORMATS))
@settings(max_examples=300, deadline=None)
def test_names_in_each_data_format_are_read_back(tmp_path_factory, data, expected, which):
    suffix, render = which
    classes = data.draw(st.permutations(list(enumerate(expected))))
    assert names(tmp_path_factory.getbasetemp(), render(classes), suffix) == expected


@given(data=st.data(), expected=PLAIN_LISTS, render=st.sampled_from(PLAIN_FORMATS))
@settings(max_examples=100, deadline=None)
def test_names_in_each_form_of_lines_are_read_back(tmp_path_factory, data, expected, render):
    assume(not any("'" in name or re.search(r"\(\s*\(", name) for name in expected))  # nested brackets are data
    classes = data.draw(st.permutations(list(enumerate(expected))))
    assert names(tmp_path_factory.getbasetemp(), render(classes)) == expected


PIECES = ["0", "1", "2", ",", ":", "\n", "\t", " ", "'", '"', "[", "]", "{", "}", "(", ")", "cat", "n01440764", "names"]
PIECES += [
    "- ",
    "# ",
    "=",
    "id",
    "\\",
    "\r",
    ";",
    "|",
    "&a",
    "*a",
    "!!x",
    "\\ud800",
    "é",
    "\0",
    "label2id",
    "<html",
    "//",
]
SUFFIXES = st.sampled_from([".txt", ".json", ".yaml", ".csv", ".tsv", ".py", ".jsonl", ""])
TEXTS = st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=40)


@given(data=TEXTS.map(lambda text: text.encode(errors="replace")) | st.binary(max_size=60), suffix=SUFFIXES)
@settings(max_examples=1500, deadline=None)
def test_any_content_is_read_or_refused(tmp_path_factory, data, suffix):
    message, found = "", []
    try:
        found = names(tmp_path_factory.getbasetemp(), data, suffix)
    except BackboneError as error:
        message = str(error)
    assert "Error" not in message
    assert message or (found and all(found))

import pytest

from lineup.errors import BackboneError
from lineup.registry import labels
from lineup.registry.labels import Label, WordNet

WORDNET = WordNet(
    lemmas={"n01440764": "tench, Tinca tinca", "n02012849": "crane", "n03126707": "crane"},
    definitions={"n01440764": "freshwater dace-like game fish"},
)
JAY_AND_CROW = labels.from_names(["jay", "crow"], "birds.txt")


def refusal(function, *arguments):
    with pytest.raises(BackboneError) as caught:
        function(*arguments)
    return str(caught.value)


def label_file(tmp_path, data):
    path = tmp_path / "birds.txt"
    path.write_bytes(data)
    return path


def test_synset_label_has_first_lemma_and_definition():
    description = "tench, Tinca tinca: freshwater dace-like game fish"
    assert WORDNET.label("n01440764") == Label("n01440764", "tench", description)
    assert WORDNET.label("n03126707") == Label("n03126707", "crane", "crane")


def test_equal_names_are_disambiguated_by_wordnet_id():
    label_set = labels.from_synsets(["n02012849", "n01440764", "n03126707"], WORDNET, "ImageNet")
    assert label_set.display_names == ("crane (n02012849)", "tench", "crane (n03126707)")
    assert [label.name for label in label_set.labels] == ["crane", "tench", "crane"]


def test_equal_names_without_ids_are_disambiguated_by_class_index():
    label_set = labels.from_names(iter(["a", "b", "a ", "a"]), "mine")
    assert label_set.labels == tuple(Label(None, name) for name in "abaa")
    assert label_set.display_names == ("a (class 0)", "b", "a (class 2)", "a (class 3)")


def test_unnamed_classes_are_numbered():
    label_set = labels.numbered(3)
    assert label_set.display_names == ("class 0", "class 1", "class 2")
    assert (label_set.origin, label_set.named) == ("unnamed classes", False)


FILES = {
    "plain": "jay\ncrow\nGrünspecht\n",
    "no last line end": "jay\ncrow\nGrünspecht",
    "byte order mark": "\ufeffjay\ncrow\nGrünspecht\n",
    "windows": "jay\r\ncrow\r\nGrünspecht\r\n",
    "old mac": "jay\rcrow\rGrünspecht",
    "margins": " jay\ncrow \n\tGrünspecht\n\n \n",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_label_file_has_one_name_per_line(tmp_path, text):
    label_set = labels.read_file(label_file(tmp_path, text.encode()))
    assert (label_set.display_names, label_set.origin, label_set.named) == (
        ("jay", "crow", "Grünspecht"),
        "birds.txt",
        True,
    )


EMPTY_LINES = [
    (b"", "line 1 of "),
    (b"\n \n", "line 1 of "),
    (b"\xef\xbb\xbf", "line 1 of "),
    (b"\njay\n", "line 1 of "),
    (b"a\r\n\t\r\nb", "line 2 of "),
]


@pytest.mark.parametrize(("data", "line"), EMPTY_LINES)
def test_empty_line_in_label_file_is_an_error(tmp_path, data, line):
    path = label_file(tmp_path, data)
    message = f"labels: expected a name in every line; {line}{path} is empty; each line is one class"
    assert refusal(labels.read_file, path) == message


def test_unreadable_label_file_is_named_in_the_error(tmp_path):
    missing = f"labels: expected a file with a name per line; {tmp_path / 'none'} does not exist; check the path"
    assert refusal(labels.read_file, tmp_path / "none") == missing
    path = label_file(tmp_path, "Grünspecht".encode("latin-1"))
    message = refusal(labels.read_file, path)
    assert message.startswith(f"labels: expected a UTF-8 text file; {path}: 'utf-8' codec can't decode byte 0xfc")
    assert message.endswith("; save it again as UTF-8")
    assert (
        refusal(labels.read_file, tmp_path)
        == f"labels: expected a file of names; {tmp_path}: Is a directory; check the path"
    )


ELEVEN = ["n01440764", *(f"bird {index}" for index in range(1, 11))]  # as strings, "10" sorts before "2"
BY_INDEX = {str(index): name for index, name in sorted(enumerate(ELEVEN), reverse=True)}


@pytest.mark.parametrize("names", [ELEVEN, tuple(ELEVEN), BY_INDEX, dict(enumerate(ELEVEN))], ids=type)
def test_hub_names_are_ordered_by_class_index(names):
    label_set = labels.from_hub(names, {"bird 1": "a jay", "n01440764": "not used"}, WORDNET, "owner/repo")
    others = [Label(None, name, "a jay" if name == "bird 1" else "") for name in ELEVEN[1:]]
    assert (label_set.labels, label_set.origin) == ((WORDNET.label("n01440764"), *others), "owner/repo")


@pytest.mark.parametrize("descriptions", [None, ["a corvid"], "a corvid"])
def test_invalid_hub_descriptions_are_ignored(descriptions):
    assert labels.from_hub(["jay"], descriptions, WORDNET, "o/r").labels == (Label(None, "jay"),)


@pytest.mark.parametrize("names", [{"1": "a", "2": "b"}, {"0": "a", "2": "b"}, {"0": "a", "x": "b"}, {"-1": "a"}])
def test_hub_names_with_invalid_indices_are_an_error(names):
    message = "o/r: expected one name for each class index from 0; got other indices; fix config.json"
    assert refusal(labels.from_hub, names, None, WORDNET, "o/r") == message


@pytest.mark.parametrize("names", ["jay", None, 5, [1, 2], ["jay", None], {"0": 1}], ids=str)
def test_hub_names_that_are_not_strings_are_an_error(names):
    message = refusal(labels.from_hub, names, None, WORDNET, "o/r")
    assert message.startswith("o/r: expected a list of strings; got ")
    assert message.endswith("; fix config.json")


@pytest.mark.parametrize("outputs", [1, 3, 1000])
def test_wrong_number_of_names_is_an_error(outputs):
    assert labels.check_count(JAY_AND_CROW, 2) is JAY_AND_CROW
    assert refusal(labels.check_count, JAY_AND_CROW, outputs) == (
        f"labels: expected {outputs} names, one for each output of the backbone; birds.txt has 2; "
        "add or remove names, or use the backbone they belong to"
    )


def test_display_names_stay_unique_if_a_suffixed_name_exists():
    names = labels.from_names(["a", "a", "a (class 1)"], "x").display_names
    assert len(set(names)) == 3
    twins = labels.LabelSet((labels.Label("n1", "crane"), labels.Label("n1", "crane")), "x")
    assert len(set(twins.display_names)) == 2

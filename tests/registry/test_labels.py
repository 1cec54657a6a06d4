import pytest
from timm.data import ImageNetInfo
from torchvision.models import ResNet18_Weights

from lineup.errors import BackboneError
from lineup.registry import labels, wordnet
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
    message = refusal(labels.from_hub, names, None, WORDNET, "o/r")
    indices = ", ".join(names)
    assert message == f"o/r: expected one name for each class index from 0; got the indices {indices}; fix config.json"


def test_hub_names_may_lack_classes_as_timm_documents():
    label_set = labels.from_hub({"0": "jay", "3": "n01440764"}, {"jay": "a bird"}, WORDNET, "o/r", num_classes=5)
    assert label_set.display_names == ("jay", "class 1", "class 2", "tench", "class 4")
    assert label_set.labels[0].description == "a bird"
    assert label_set.origin == "o/r, without class 1, 2, 4"
    assert labels.from_hub({"1": "b", "0": "a"}, None, WORDNET, "o/r", num_classes=2).origin == "o/r"


@pytest.mark.parametrize("index", ["5", "-1", "1_0", "x", "00"])
def test_hub_names_of_classes_that_do_not_exist_are_an_error(index):
    message = refusal(labels.from_hub, {"0": "jay", index: "crow"}, None, WORDNET, "o/r", 5)
    assert message == f"o/r: expected one name for each class index from 0; got the indices 0, {index}; fix config.json"


@pytest.mark.parametrize(
    ("label", "resolved"),
    [
        (Label(None, "n01440764"), WORDNET.label("n01440764")),
        (Label("n01440764", "tench, Tinca tinca"), WORDNET.label("n01440764")),
        (Label("n01440764", "Tench"), WORDNET.label("n01440764")),
        (Label("n01440764", "n01440764"), WORDNET.label("n01440764")),
        (Label("n01440764", "Schleie"), Label("n01440764", "Schleie", WORDNET.label("n01440764").description)),
        (Label("n00", "cat"), Label(None, "cat")),
        (Label(None, "jay", "a bird"), Label(None, "jay", "a bird")),
    ],
)
def test_wordnet_ids_are_resolved_and_own_names_stay(label, resolved):
    label_set = WORDNET.resolve(labels.LabelSet((label,), "a.txt"))
    assert label_set == labels.LabelSet((resolved,), "a.txt")


IMAGENET, INFO = wordnet.imagenet("imagenet-1k"), ImageNetInfo()
LEMMAS = [INFO.label_name_to_description(label.id) for label in IMAGENET.labels]
ORDERS = {  # names of ImageNet's classes in the weights' order
    "short": [label.name for label in IMAGENET.labels],
    "all lemmas": LEMMAS,
    "keras": [lemmas.split(",")[0].replace(" ", "_") for lemmas in LEMMAS],
    "ids": [label.id for label in IMAGENET.labels],
    "torchvision": ResNet18_Weights.DEFAULT.meta["categories"],
}


@pytest.mark.parametrize("names", ORDERS.values(), ids=ORDERS)
def test_imagenet_names_in_another_order_are_an_error(names):
    def check(chosen):
        labels.check_order(wordnet.wordnet().resolve(labels.from_names(chosen, "a.txt")), IMAGENET)

    check(names)
    swapped = [names[1], names[0], *names[2:]]
    for wrong in (sorted(names, reverse=True), names[::-1], [*names[1:], names[0]]):
        assert "a.txt has the same in another order: class " in refusal(check, wrong)
    if names is not ORDERS["torchvision"]:  # two of its names are in no other list
        assert "class 0 is 'goldfish" in refusal(check, swapped)
    check([*names[:998], "my hamster", "my mouse"])
    check([f"Klasse {index}" for index in range(1000)])


def test_small_label_sets_may_be_reordered():
    labels.check_order(labels.from_names(["crow", "jay"], "mine"), JAY_AND_CROW)


@pytest.mark.parametrize("names", ["jay", None, 5, [1, 2], ["jay", None], {"0": 1}], ids=str)
def test_hub_names_that_are_not_strings_are_an_error(names):
    message = refusal(labels.from_hub, names, None, WORDNET, "o/r")
    assert message.startswith("o/r: expected a list of strings; got ")
    assert message.endswith("; fix config.json")


def test_one_output_takes_one_name_or_two():
    assert labels.check_count(JAY_AND_CROW, 1) is JAY_AND_CROW
    assert refusal(labels.check_count, labels.numbered(3), 1) == (
        "labels: expected one name for the one output of the backbone, or two; unnamed classes has 3; "
        "add or remove names, or use the backbone they belong to"
    )


@pytest.mark.parametrize("outputs", [3, 1000])
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

"""What the labels of a folder mean for the classes of backbones."""

import pytest

from lineup.analysis.label_mapping import match, unscored
from lineup.errors import LineupError
from lineup.registry import labels
from lineup.registry.hypernyms import hypernyms, singulars
from lineup.registry.wordnet import imagenet


@pytest.fixture(scope="module")
def in1k():
    return {"a": imagenet("imagenet-1k")}


def one(label, label_sets, **chosen):
    [found] = match([label], label_sets, chosen or None)
    return found


MATCHED = [
    ("dog", 118),
    ("dogs", 118),
    ("Dog", 118),
    ("domestic_dog", 118),
    ("bird", 59),
    ("snake", 17),
    ("truck", 8),
    ("cat", 7),
    ("bear", 4),
    ("butterflies", 6),
    ("foxes", 4),
    ("castle", 1),
    ("golden retrievers", 1),
    ("German-shepherd", 1),
    ("n02084071", 118),
    ("n02085620-Chihuahua", 1),
    ("n02085620_Chihuahua", 1),
]


@pytest.mark.parametrize(("label", "count"), MATCHED)
def test_label_means_its_classes_and_all_kinds_of_them(in1k, label, count):
    found = one(label, in1k)
    assert (found.state, len(found.classes["a"])) == ("matched", count)


@pytest.mark.parametrize("label", ["crane", "mouse", "cup", "plane", "mice"])
def test_ambiguous_word_is_not_scored_until_it_is_chosen(in1k, label):
    found = one(label, in1k)
    assert (found.state, found.meaning, found.classes["a"]) == ("ambiguous", (), ())
    assert len(found.senses) > 1
    assert all(sense.definition for sense in found.senses)


@pytest.mark.parametrize(
    ("label", "nearest"), [("cow", "ox"), ("giraffe", "bison"), ("labrador", "Labrador retriever"), ("xyzzyx", "")]
)
def test_word_without_classes_names_the_nearest(in1k, label, nearest):
    found = one(label, in1k)
    assert found.state == "unmatched"
    assert nearest in found.nearest or (not nearest and not found.nearest)


def test_choice_replaces_what_was_found(in1k):
    bird = one("crane", in1k, crane="n02012849")
    assert (bird.state, bird.meaning, len(bird.classes["a"])) == ("chosen", ("n02012849",), 1)
    several = one("my pets", in1k, **{"my pets": ["tabby", "beagle"]})
    assert len(several.classes["a"]) == 2
    assert one("dog", in1k, dog=None).state == "left out"


@pytest.mark.parametrize("meaning", ["n99999999", "no such class", "n02439033", 3])
def test_choice_without_classes_is_an_error(in1k, meaning):
    with pytest.raises(LineupError, match="mapping: dog: expected a WordNet id"):
        one("dog", in1k, dog=meaning)


def test_choice_for_a_label_that_is_not_there_is_an_error(in1k):
    with pytest.raises(LineupError, match="did you mean 'beagle'"):
        match(["beagle"], in1k, {"beagel": None})


def test_names_of_own_classes_are_matched_by_name():
    own = {"own": labels.from_names(["house_wren", "big dog", "Élan"], "the config")}
    assert one("House wrens", own).classes["own"] == (0,)
    assert one("big-dog", own).classes["own"] == (1,)
    assert one("élan", own).classes["own"] == (2,)


def test_backbone_that_lacks_a_label_has_no_classes_for_it(in1k):
    sets = {**in1k, "own": labels.from_names(["wren", "jay"], "the config")}
    found = one("jay", sets)
    assert (found.classes["a"], found.classes["own"]) == ((17,), (1,))
    assert one("dog", sets).classes["own"] == ()


def test_unnamed_classes_match_nothing():
    assert one("class 1", {"a": labels.numbered(5)}).state == "unmatched"


def test_larger_class_sets_have_more_kinds(in1k):
    sets = {**in1k, "large": imagenet("imagenet-21k-goog")}
    found = one("giraffe", sets)
    assert (found.state, found.classes["a"], len(found.classes["large"])) == ("matched", (), 2)


def test_nearest_classes_share_a_word_if_any_does(in1k):
    assert {"cup", "coffee mug"} & set(one("coffee cup", in1k).nearest)


def test_each_label_that_is_not_scored_has_a_sentence(in1k):
    found = match(["dog", "giraffe", "crane"], in1k)
    sentences = unscored(found, {"dog": 3, "giraffe": 1, "crane": 2})
    assert len(sentences) == 2
    assert sentences[0].startswith("giraffe: no backbone has a class for it; the nearest are ")
    assert sentences[0].endswith("its 1 image is not scored.")
    assert "its 2 images are not scored until you choose." in sentences[1]


def test_every_class_of_imagenet_is_in_the_graph():
    graph = hypernyms()
    for subset in ("imagenet-1k", "imagenet-12k", "imagenet-22k", "imagenet-21k-goog", "imagenet-21k-miil"):
        assert all(label.id in graph.parents for label in imagenet(subset).labels)


def test_hypernyms_end_in_one_root_without_circles():
    graph = hypernyms()
    assert [synset for synset, parents in graph.parents.items() if not parents] == ["n00001740"]
    assert len(graph.below("n00001740")) == len(graph.parents)


@pytest.mark.parametrize(
    ("word", "form"),
    [("boxes", "box"), ("berries", "berry"), ("horses", "horse"), ("geese", "goose"), ("glass", "glass")],
)
def test_plurals_have_their_singular(word, form):
    assert form in singulars(word)

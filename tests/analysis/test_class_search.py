"""What is found for a text among the classes of backbones."""

import pytest

from lineup.analysis.class_search import MAX_FOUND, ClassSearch
from lineup.registry.labels import Label, LabelSet, from_names, numbered

IMAGENET = LabelSet(
    (
        Label("n02123045", "tabby", "tabby, tabby cat: a cat with a grey coat"),
        Label("n02012849", "crane", "crane: a large long-necked bird"),
        Label("n03126707", "crane", "crane: lifts heavy objects"),
        Label("n02124075", "Egyptian cat", "Egyptian cat"),
        Label("n03187595", "dial telephone", "dial telephone, dial phone"),
    ),
    "ImageNet",
)
BIRDS = from_names(["Crane (n02012849)", "crème cat", "wildcat", "Catbird"], "birds")


def found(text, *label_sets, limit=MAX_FOUND):
    return [each.label for each in ClassSearch(label_sets or [IMAGENET, BIRDS]).find(text, limit)]


def test_names_that_begin_with_the_text_come_first_and_synonyms_last():
    assert found("cat") == ["Catbird", "crème cat", "Egyptian cat", "wildcat", "tabby"]
    assert found("cat", limit=2) == ["Catbird", "crème cat"]


@pytest.mark.parametrize("text", ["creme", "CRÈME  cat", "crème", "cre\u0300me"])
def test_case_accents_and_spaces_do_not_matter(text):
    assert found(text) == ["crème cat"]


def test_synonyms_are_shown_without_the_definition():
    [dial] = ClassSearch([IMAGENET]).find("dial p")
    assert (dial.label, dial.synonyms) == ("dial telephone", "dial phone")
    assert found("grey") == []


def test_two_classes_of_one_name_are_told_apart():
    assert found("crane", IMAGENET) == ["crane (n02012849)", "crane (n03126707)"]


@pytest.mark.parametrize("text", ["", "   ", "zebra", "x" * 10_000, "%", "\0", "\ud800"])
def test_other_texts_find_nothing(text):
    assert found(text) == []


def test_numbered_classes_are_not_suggested():
    assert found("class", numbered(3)) == []


def test_class_of_two_backbones_is_found_once():
    assert found("tabby", IMAGENET, IMAGENET) == ["tabby"]


def test_text_that_is_a_class_whatever_its_case_is_that_class():
    search = ClassSearch([from_names(["Owl", "owl", "Great  tit", "cote", "côte"], "own")])
    texts = ("owl", "Owl", "great TIT", "côte", "coté", "")
    assert [search.named(text) for text in texts] == ["owl", "Owl", "Great  tit", "côte", "", ""]

"""The cards of meanings: what is asked comes first, and no label breaks them."""

import json
from html.parser import HTMLParser

import pytest

from lineup.analysis.label_mapping import Match, Sense
from lineup.images.image_set import EvaluatedImage, ImageSet
from lineup.page import label_meanings

HOSTILE = """a"b'c<script>alert(1)</script>&amp;"""


def rendered(*matches, is_open=True):
    images = tuple(EvaluatedImage("", f"{each.label}/1.jpg", each.label, "", "") for each in matches)
    return label_meanings.mapping(ImageSet("zoo", images), matches, [], is_open)


def match(label, state="matched", meaning=("n1",), senses=(), nearest=(), count=2):
    return Match(label, state, meaning, senses, nearest, {"a": tuple(range(count))})


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_labels_that_are_asked_about_come_first():
    senses = tuple(Sense(f"n{at}", "crane", "", 1) for at in range(2))
    page = rendered(match("bear"), match("giraffe", "unmatched", ()), match("crane", "ambiguous", (), senses))
    order = [attributes["data-label"] for tag, attributes in Tags(page).found if tag == "select"]
    assert order == ["crane", "giraffe", "bear"]
    assert "1 to choose" in page


@pytest.mark.parametrize("state", ["matched", "chosen", "unmatched", "left out"])
def test_labels_and_names_cannot_break_the_page(state):
    senses = (Sense("n1", HOSTILE, HOSTILE, 1),)
    page = rendered(match(HOSTILE, state, (HOSTILE,), senses, (HOSTILE,)))
    tags = Tags(page).found
    assert not [tag for tag, _ in tags if tag == "script"]
    assert {attributes["data-label"] for _, attributes in tags if "data-label" in attributes} == {HOSTILE}
    values = [attributes["value"] for tag, attributes in tags if tag == "option" and "value" in attributes]
    meanings = [json.loads(value) for value in values if value not in ("", "other")]
    assert [HOSTILE] in meanings
    assert [] in meanings


def test_clear_labels_of_a_large_folder_are_folded():
    page = rendered(*(match(f"label {at}") for at in range(13)))
    assert "13 labels with a class of their name" in page
    assert page.count("<select") == 13


def test_images_without_labels_say_what_follows():
    images = ImageSet("zoo", (EvaluatedImage("", "1.jpg", None, "", ""),))
    assert "no labels" in label_meanings.mapping(images, [], [], True)

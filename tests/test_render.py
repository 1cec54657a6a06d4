"""What the page shows, as HTML: what is said, and that nobody's text becomes markup."""

from html.parser import HTMLParser

import pytest
from PIL import Image

from lineup.page import render
from lineup.results import BackboneStatus, Classification, Milliseconds, Prediction, Progress

EVIL = '<img src=x onerror="alert(1)">'


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data + "\n"


def classification(**changes) -> Classification:
    values = {
        "backbone": "resnet18",
        "predictions": tuple(
            Prediction(index, f"n{index}", label, probability)
            for index, (label, probability) in enumerate([("jay", 0.9), ("crow", 0.0996), ("owl", 0.0004)])
        ),
        "input_size": (224, 256),
        "engine": "torch",
        "device": "cpu",
        "milliseconds": Milliseconds(8, 10, 25),
        "label_set": "ImageNet-1k",
        "license": "apache-2.0",
        **changes,
    }
    return Classification(**values)


def test_an_answer_has_a_bar_for_each_label_and_says_what_ran():
    tags = Tags(render.answer(classification(seen=Image.new("RGB", (256, 224)), notes=("mind this",)), 3))
    fills = [attributes["style"] for _, attributes in tags.found if attributes.get("class") == "lu-fill"]
    assert fills == ["width:90.00%", "width:9.96%", "width:0.04%"]
    for words in ("jay", "90.0%", "crow", "10.0%", "owl", "< 0.1%", "256 × 224 px", "torch on cpu", "43 ms"):
        assert words in tags.text
    for words in ("decode 8 · preprocess 10 · forward 25", "ImageNet-1k", "weights: apache-2.0", "mind this"):
        assert words in tags.text
    assert any(
        tag == "img" and attributes["src"].startswith("data:image/jpeg;base64,") for tag, attributes in tags.found
    )


def test_fewer_labels_are_shown_when_fewer_are_wanted():
    assert render.answer(classification(), 1).count("<li") == 1


def test_a_licence_that_nobody_states_is_not_made_up():
    assert "weights: not stated" in Tags(render.answer(classification(license=""), 1)).text


@pytest.mark.parametrize(
    "html",
    [
        render.header(EVIL, EVIL),
        render.answer(
            classification(
                backbone=EVIL,
                predictions=(Prediction(0, EVIL, EVIL, 1.0, EVIL),),
                label_set=EVIL,
                license=EVIL,
                notes=(EVIL,),
            ),
            3,
        ),
        render.problem(EVIL, f"{EVIL}; {EVIL}; {EVIL}"),
        render.waiting(BackboneStatus(EVIL, "timm", "loading", progress=Progress(EVIL, 1, 2))),
        render.waiting(BackboneStatus(EVIL, "timm", "loading", progress=Progress(EVIL))),
        render.stand_in(BackboneStatus(EVIL, "timm", "unavailable", reason=EVIL), EVIL + "2"),
        render.thinking(EVIL),
        render.invitation(BackboneStatus(EVIL, "timm", "ready")),
    ],
)
def test_text_of_others_never_becomes_markup(html):
    assert "img" not in [tag for tag, _ in Tags(html).found]
    assert EVIL in Tags(html).text.replace("\n", "")


def test_a_choice_tells_parameters_size_and_readiness():
    known = {"parameters": 11_689_512, "download_bytes": 46_800_000}
    assert render.choice(BackboneStatus("resnet18", "timm", "ready", **known)) == (
        "resnet18 · 11.7 M parameters · 46.8 MB · ready"
    )
    assert render.choice(BackboneStatus("resnet18", "timm", "idle")) == "resnet18 · loads on first use"


@pytest.mark.parametrize(
    ("reason", "short"),
    [
        ("x: w.bin: expected a download; the Hub cannot be reached; check the network", "the Hub cannot be reached"),
        ("x: expected a name; got 'x'; did you mean 'y'?", "did you mean 'y'?"),
        ("x: no form at all", "no form at all"),
    ],
)
def test_an_unavailable_choice_says_why_in_a_few_words(reason, short):
    assert render.choice(BackboneStatus("x", "timm", "unavailable", reason=reason)) == f"x · ✕ unavailable: {short}"


def test_a_download_has_a_bar_and_its_bytes():
    tags = Tags(
        render.waiting(BackboneStatus("x", "timm", "loading", progress=Progress("downloading", 25_000_000, 10**8)))
    )
    assert "x is getting ready: downloading 25.0 MB of 100.0 MB" in tags.text
    assert ("div", {"class": "lu-fill", "style": "width:25.0%"}) in tags.found


def test_the_notice_names_the_default_its_reason_and_the_stand_in():
    default = BackboneStatus("a", "timm", "unavailable", reason="a: expected x; it is gone; try later")
    assert "a cannot run now, so b is selected" in Tags(render.stand_in(default, "b")).text
    assert "It is gone; try later." in Tags(render.stand_in(default, "b")).text
    assert "No backbone of this line-up can run now" in Tags(render.stand_in(default, "a")).text

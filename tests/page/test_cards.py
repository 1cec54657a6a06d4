"""What the page shows, as HTML: what is said, and that nobody's text becomes markup."""

import re

import pytest
from rendering import EVIL, EVIL_ANSWER, Tags, classification

from lineup.analysis.agreement import Agreement, Comparison, Group
from lineup.errors import BackboneError
from lineup.features.benchmark import panel
from lineup.page import cards, html
from lineup.results import BackboneStatus, Prediction, Progress

NO_VERDICT = Agreement("", None, (), ())


def test_an_answer_has_a_bar_for_each_label_and_says_what_ran():
    tags = Tags(cards.answer(classification(model_input_jpeg=b"an image", notes=("mind this",)), 3))
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
    assert cards.answer(classification(), 1).count("<li") == 1


def test_a_licence_that_nobody_states_is_not_made_up():
    assert "weights: not stated" in Tags(cards.answer(classification(license=""), 1)).text


@pytest.mark.parametrize(
    "html",
    [
        cards.header(EVIL, EVIL),
        cards.answer(EVIL_ANSWER, 3),
        html.problem(EVIL, EVIL),
        html.problem(EVIL, BackboneError(EVIL, EVIL, EVIL, EVIL)),
        html.waiting(BackboneStatus(EVIL, "timm", "loading", progress=Progress(EVIL, 1, 2))),
        html.waiting(BackboneStatus(EVIL, "timm", "loading", progress=Progress(EVIL))),
        cards.fallback(BackboneStatus(EVIL, "timm", "unavailable", BackboneError(EVIL, EVIL, EVIL)), EVIL + "2"),
        html.thinking(EVIL),
        html.invitation(BackboneStatus(EVIL, "timm", "ready")),
        cards.wrong_link([EVIL, EVIL]),
        cards.getting_on([BackboneStatus(EVIL, "timm", "idle"), BackboneStatus("b", "timm", "idle")]),
        cards.getting_on([BackboneStatus(EVIL, "timm", "loading", progress=Progress(EVIL))]),
        cards.getting_on([BackboneStatus(EVIL, "timm", "ready")]),
        cards.comparison([EVIL], Comparison({}, NO_VERDICT), 3),
        cards.comparison(["a"], Comparison({"a": EVIL_ANSWER}, NO_VERDICT), 3),
        cards.comparison(["a"], Comparison({"a": BackboneError(EVIL, EVIL, EVIL, EVIL)}, NO_VERDICT), 3),
        cards.comparison([], Comparison({}, Agreement(EVIL, None, (), ())), 3),
        cards.comparison([], Comparison({}, Agreement("", None, (Group(None, EVIL, (EVIL,)),), ())), 3),
        cards.comparison([], Comparison({}, NO_VERDICT, {EVIL: EVIL}), 3),
        panel.measured(1, [BackboneError(EVIL, EVIL, EVIL)]),
    ],
)
def test_text_of_others_never_becomes_markup(html):
    assert "img" not in [tag for tag, _ in Tags(html).found]
    assert EVIL in Tags(html).text.replace("\n", "")


def test_a_choice_tells_parameters_size_and_readiness():
    known = {"parameters": 11_689_512, "download_bytes": 46_800_000}
    assert cards.choice(BackboneStatus("resnet18", "timm", "ready", **known)) == (
        "resnet18 · 11.7 M parameters · 46.8 MB · ready"
    )
    assert cards.choice(BackboneStatus("resnet18", "timm", "idle")) == "resnet18 · loads on first use"


@pytest.mark.parametrize(
    ("fields", "short"),
    [
        (("x: w.bin", "a download", "the Hub cannot be reached", "check the network"), "the Hub cannot be reached"),
        (("x", "a name", "got 'x'", "did you mean 'y'?"), "did you mean 'y'?"),
        (("x", "", "no form at all"), "no form at all"),
    ],
)
def test_an_unavailable_choice_says_why_in_a_few_words(fields, short):
    status = BackboneStatus("x", "timm", "unavailable", BackboneError(*fields))
    assert cards.choice(status) == f"x · ✕ unavailable: {short}"


def test_a_semicolon_in_a_name_cuts_nothing_off():
    problem = BackboneError("a; b: c", "the file a; b.bin", "a; b.bin is not there", "check the path; it is relative")
    status = BackboneStatus("a; b: c", "timm", "unavailable", problem)
    for shown in (cards.fallback(status, "d"), compared({"a; b: c": problem}, ["a; b: c"]), html.problem("x", problem)):
        text = Tags(shown).text
        assert "A; b.bin is not there; check the path; it is relative." in text
        assert "a; b: c: expected the file a; b.bin" in text
    assert cards.choice(status) == "a; b: c · ✕ unavailable: a; b.bin is not there"


def test_a_download_has_a_bar_and_its_bytes():
    tags = Tags(
        html.waiting(BackboneStatus("x", "timm", "loading", progress=Progress("downloading", 25_000_000, 10**8)))
    )
    assert "x is getting ready: downloading 25.0 MB of 100.0 MB" in tags.text
    assert ("div", {"class": "lu-fill", "style": "width:25.0%"}) in tags.found


def test_the_notice_names_the_default_its_reason_and_the_stand_in():
    default = BackboneStatus("a", "timm", "unavailable", BackboneError("a", "x", "it is gone", "try later"))
    assert "a cannot run now, so b is selected" in Tags(cards.fallback(default, "b")).text
    assert "It is gone; try later." in Tags(cards.fallback(default, "b")).text
    assert "No backbone of this line-up can run now" in Tags(cards.fallback(default, "a")).text


# --- comparisons ---


def compared(
    answers, names=("a", "b", "c"), majority=(), dissenting=(), not_comparable=(), lacking=(), left_out=(), top_k=2
) -> str:
    group = Group(None, "jay", tuple(majority)) if majority else None
    groups = [group] if group else []
    groups += [Group(None, "crow", tuple(dissenting))] if dissenting else []
    agreement = Agreement(
        "The verdict.", group, tuple(groups), tuple(not_comparable), tuple(dissenting), tuple(lacking)
    )
    return cards.comparison(names, Comparison(answers, agreement, dict(left_out)), top_k)


def chips(html: str) -> list[tuple[str, str]]:
    """Return the text of each chip, and the backbones behind it."""
    found = re.findall(r'<li class="[^"]*" title="([^"]*)">(.*?) <b>(\d+)</b></li>', html)
    return [(f"{label} {count}", names) for names, label, count in found]


def kinds(html: str) -> list[str]:
    return [attributes["class"].split()[-1] for tag, attributes in Tags(html).found if tag == "article"]


def test_only_on_a_space_the_header_offers_a_copy_of_it():
    assert "Duplicate" not in cards.header("Lineup", "")
    (link,) = [attributes for tag, attributes in Tags(cards.header("Lineup", "", 'me/"x')).found if tag == "a"]
    assert link["href"] == 'https://huggingface.co/spaces/me/"x?duplicate=true'


def test_each_backbone_has_a_card_with_its_labels_and_its_time():
    html = compared({"a": classification(notes=("mind this",)), "b": classification(), "c": classification()})
    assert html.count("lu-line") == 6
    for words in ("The verdict.", "a", "b", "c", "jay", "90.0%", "crow", "mind this", "25 ms", "256 × 224 px"):
        assert words in Tags(html).text.split("\n")


def test_a_card_shows_the_crop_with_the_name_as_its_text():
    crop = classification(backbone=EVIL, model_input_jpeg=b"an image")
    (image,) = [attributes for tag, attributes in Tags(compared({"a": crop})).found if tag == "img"]
    assert image["src"].startswith("data:image/jpeg;base64,")
    assert image["alt"] == f"the crop that {EVIL} saw"


def test_those_that_are_still_to_answer_have_a_card_and_there_is_no_verdict():
    html = compared({"b": classification()})
    assert Tags(html).text.split("\n")[0] == "a"
    assert html.count("lu-pulse") == 2
    assert "The verdict." not in html


def test_one_that_failed_says_what_came_and_what_to_do():
    html = compared({"a": BackboneError("a", "x", "it is gone", "try later")}, names=["a"])
    assert kinds(html) == ["lu-failed"]
    assert "It is gone; try later." in Tags(html).text
    assert "The verdict." in html


def test_a_card_is_marked_where_it_says_something_else_than_the_majority():
    answers = {name: classification(backbone=name) for name in "abcd"}
    found = kinds(compared(answers, "abcd", majority="ac", dissenting="b", not_comparable="d"))
    assert found == ["lu-small", "lu-dissent", "lu-small", "lu-small"]  # d is not compared
    assert kinds(compared(answers, "abcd")) == ["lu-small"] * 4


def test_each_different_answer_is_a_chip_and_those_apart_and_those_that_failed_are_too():
    answers = {name: classification(backbone=name) for name in "abce"} | {"d": BackboneError("d", "x", "y", "z")}
    html = compared(answers, "abcde", majority="ab", dissenting="e", not_comparable="c")
    assert chips(html) == [("jay 2", "a, b"), ("crow 1", "e"), ("jay 1", "c"), ("no answer 1", "d")]
    assert re.findall('<li class="([^"]*)" title="[^"]*">[^<]+ <b>', html) == ["lu-majority", "lu-dissent", "", ""]


def test_what_was_left_out_is_named_with_its_reason():
    too_many = "at most 2 are compared at once"
    left_out = {EVIL: BackboneError(EVIL, "", "it is gone"), "c": BackboneError("c", "", "so is this"), "d": too_many}
    html = compared({"a": classification()}, ["a"], left_out=left_out)
    assert f"Left out: {EVIL}, c (unavailable); d ({too_many})." in Tags(html).text
    assert "Left out" not in compared({"a": classification()}, ["a"])


def test_a_card_says_which_class_its_backbone_does_not_have():
    answers = {name: classification(backbone=name) for name in "abc"}
    html = compared(answers, "abc", majority="ab", lacking="c")
    assert "It has no class" not in compared({"a": answers["a"], "c": answers["c"]}, "abc", majority="ab", lacking="c")
    assert html.count("It has no class jay.") == 1
    assert html.index("It has no class jay.") > html.index("<h3>c</h3>")


ROUNDED = [
    (0.95, "95 points ahead of crow"),
    (0.9951, "over 99 points ahead of crow"),
    (1.0, "100 points ahead of crow"),
    (0.0001, "under 1 point ahead of crow"),
    (0.0, "under 1 point ahead of crow"),
    (0.01, "1 point ahead of crow"),
    (0.02, "2 points ahead of crow"),
]


@pytest.mark.parametrize(("margin", "told"), ROUNDED)
def test_a_card_says_how_far_the_first_is_ahead_and_never_more_than_is_known(margin, told):
    assert told in Tags(compared({"a": classification(margin=margin)}, ["a"])).text.split("\n")


def test_the_only_class_of_a_backbone_is_ahead_of_nothing():
    only = classification(predictions=(Prediction(0, None, "jay", 1.0),), margin=1.0)
    assert "ahead" not in compared({"a": only}, ["a"])


# --- how it gets on ---


def test_several_that_are_still_to_answer_are_named_with_what_they_do():
    loading = BackboneStatus("b", "timm", "loading", progress=Progress("downloading", 25_000_000, 10**8))
    ready = [BackboneStatus(name, "timm", "ready") for name in "ac"]
    text = Tags(cards.getting_on([ready[0], loading, ready[1]])).text
    assert "3 are still to answer" in text
    assert "a is looking, b downloading 25.0 MB of 100.0 MB, c is waiting its turn" in text


def test_the_last_one_is_told_by_itself():
    loading = BackboneStatus("b", "timm", "loading", progress=Progress("downloading", 25_000_000, 10**8))
    assert "b is getting ready: downloading 25.0 MB of 100.0 MB" in Tags(cards.getting_on([loading])).text
    assert "a is looking at your image" in Tags(cards.getting_on([BackboneStatus("a", "timm", "ready")])).text
    assert cards.getting_on([]) == ""


def test_measuring_has_a_bar_and_says_what_runs():
    tags = Tags(panel.measuring(1, 4, html.thinking("b")))
    assert "1 of 4 measured" in tags.text
    assert "b is looking at your image" in tags.text
    assert ("div", {"class": "lu-fill", "style": "width:25.0%"}) in tags.found


def test_what_was_measured_is_counted_and_what_failed_says_why():
    text = Tags(
        panel.measured(
            3, [BackboneError("a", "x", "it is gone", "try later"), BackboneError("b", "", "no form at all")]
        )
    ).text
    assert "3 measured" in text
    assert "It is gone; try later." in text
    assert "b: no form at all" in text


def test_the_other_dropdown_names_backbones_briefly():
    known = {"parameters": 11_689_512, "download_bytes": 46_800_000}
    assert cards.short_choice(BackboneStatus("resnet18", "timm", "idle", **known)) == "resnet18"
    gone = BackboneStatus("resnet5O", "timm", "unavailable", BackboneError("resnet5O", "", "no"))
    assert cards.short_choice(gone) == "resnet5O · ✕ unavailable"

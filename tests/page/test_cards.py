"""The HTML of cards and panels: its content, and that external text is escaped."""

import re

import pytest
from rendering import HOSTILE, HOSTILE_ANSWER, Tags, classification

from lineup.analysis.agreement import Agreement, Comparison, Group
from lineup.errors import BackboneError
from lineup.features.benchmark import panel
from lineup.page import cards, html
from lineup.results import BackboneStatus, Prediction, Progress

NO_VERDICT = Agreement("", None, (), ())


def test_answer_has_a_bar_per_label_and_run_details():
    tags = Tags(cards.classification_card(classification(model_input_jpeg=b"an image", notes=("mind this",)), 3))
    fills = [attributes["style"] for _, attributes in tags.elements if attributes.get("class") == "lu-fill"]
    assert fills == ["width:90.0%", "width:9.96%", "width:0.04%"]
    for words in ("jay", "90.0%", "crow", "10.0%", "owl", "< 0.1%", "256 × 224 px", "torch on cpu", "43 ms"):
        assert words in tags.text
    for words in ("decode 8 · preprocess 10 · forward 25", "ImageNet-1k", "weights: apache-2.0", "mind this"):
        assert words in tags.text
    assert any(
        tag == "img" and attributes["src"].startswith("data:image/jpeg;base64,") for tag, attributes in tags.elements
    )


def test_answer_shows_top_k_labels():
    assert cards.classification_card(classification(), 1).count("<li") == 1


def test_answer_without_licence_says_not_stated():
    assert "weights: not stated" in Tags(cards.classification_card(classification(license=""), 1)).text


@pytest.mark.parametrize(
    "html",
    [
        cards.header(HOSTILE, HOSTILE),
        cards.classification_card(HOSTILE_ANSWER, 3),
        html.problem(HOSTILE, HOSTILE),
        html.problem(HOSTILE, BackboneError(HOSTILE, HOSTILE, HOSTILE, HOSTILE)),
        html.loading(BackboneStatus(HOSTILE, "timm", "loading", progress=Progress(HOSTILE, 1, 2))),
        html.loading(BackboneStatus(HOSTILE, "timm", "loading", progress=Progress(HOSTILE))),
        html.fallback(
            BackboneStatus(HOSTILE, "timm", "unavailable", BackboneError(HOSTILE, HOSTILE, HOSTILE)), HOSTILE + "2"
        ),
        html.classifying(HOSTILE),
        html.invitation(BackboneStatus(HOSTILE, "timm", "ready")),
        html.wrong_link([HOSTILE, HOSTILE]),
        html.pending_panel([BackboneStatus(HOSTILE, "timm", "idle"), BackboneStatus("b", "timm", "idle")]),
        html.pending_panel([BackboneStatus(HOSTILE, "timm", "loading", progress=Progress(HOSTILE))]),
        html.pending_panel([BackboneStatus(HOSTILE, "timm", "ready")]),
        cards.comparison([HOSTILE], Comparison({}, NO_VERDICT), 3),
        cards.comparison(["a"], Comparison({"a": HOSTILE_ANSWER}, NO_VERDICT), 3),
        cards.comparison(["a"], Comparison({"a": BackboneError(HOSTILE, HOSTILE, HOSTILE, HOSTILE)}, NO_VERDICT), 3),
        cards.comparison([], Comparison({}, Agreement(HOSTILE, None, (), ())), 3),
        cards.comparison([], Comparison({}, Agreement("", None, (Group(None, HOSTILE, (HOSTILE,)),), ())), 3),
        cards.comparison([], Comparison({}, NO_VERDICT, {HOSTILE: HOSTILE}), 3),
        panel.measured(1, [BackboneError(HOSTILE, HOSTILE, HOSTILE)]),
        panel.measured(1, [], {HOSTILE: BackboneError(HOSTILE, HOSTILE, HOSTILE)}),
    ],
)
def test_external_text_is_escaped(html):
    assert "img" not in [tag for tag, _ in Tags(html).elements]
    assert HOSTILE in Tags(html).text.replace("\n", "")


def test_choice_shows_parameters_size_and_status():
    known = {"parameters": 11_689_512, "download_bytes": 46_800_000}
    assert cards.dropdown_label(BackboneStatus("resnet18", "timm", "ready", **known)) == (
        "resnet18 · 11.7 M parameters · 46.8 MB · ready"
    )
    assert cards.dropdown_label(BackboneStatus("resnet18", "timm", "idle")) == "resnet18 · loads on first use"


@pytest.mark.parametrize(
    ("fields", "short"),
    [
        (("x: w.bin", "a download", "the Hub cannot be reached", "check the network"), "the Hub cannot be reached"),
        (("x", "a name", "got 'x'", "did you mean 'y'?"), "did you mean 'y'?"),
        (("x", "", "no form at all"), "no form at all"),
    ],
)
def test_unavailable_choice_shows_a_short_reason(fields, short):
    status = BackboneStatus("x", "timm", "unavailable", BackboneError(*fields))
    assert cards.dropdown_label(status) == f"x · ✕ unavailable: {short}"


def test_semicolon_in_a_name_does_not_truncate_the_error():
    problem = BackboneError("a; b: c", "the file a; b.bin", "a; b.bin is not there", "check the path; it is relative")
    status = BackboneStatus("a; b: c", "timm", "unavailable", problem)
    for shown in (html.fallback(status, "d"), compared({"a; b: c": problem}, ["a; b: c"]), html.problem("x", problem)):
        text = Tags(shown).text
        assert "A; b.bin is not there; check the path; it is relative." in text
        assert "a; b: c: expected the file a; b.bin" in text
    assert cards.dropdown_label(status) == "a; b: c · ✕ unavailable: a; b.bin is not there"


def test_download_shows_a_progress_bar_and_bytes():
    tags = Tags(
        html.loading(BackboneStatus("x", "timm", "loading", progress=Progress("downloading", 25_000_000, 10**8)))
    )
    assert "Loading x: downloading 25.0 MB of 100.0 MB" in tags.text
    assert ("div", {"class": "lu-fill", "style": "width:25.0%"}) in tags.elements


def test_fallback_notice_names_default_reason_and_replacement():
    default = BackboneStatus("a", "timm", "unavailable", BackboneError("a", "x", "it is gone", "try later"))
    assert "a cannot run now, so b is selected" in Tags(html.fallback(default, "b")).text
    assert "It is gone; try later." in Tags(html.fallback(default, "b")).text
    assert "No backbone of this line-up can run now" in Tags(html.fallback(default, "a")).text


# --- comparisons ---


def compared(
    answers,
    names=("a", "b", "c"),
    majority=(),
    dissenting=(),
    not_comparable=(),
    missing_class=(),
    left_out=(),
    top_k=2,
) -> str:
    group = Group(None, "jay", tuple(majority)) if majority else None
    groups = [group] if group else []
    groups += [Group(None, "crow", tuple(dissenting))] if dissenting else []
    agreement = Agreement(
        "The verdict.", group, tuple(groups), tuple(not_comparable), tuple(dissenting), tuple(missing_class)
    )
    return cards.comparison(names, Comparison(answers, agreement, dict(left_out)), top_k)


def chips(html: str) -> list[tuple[str, str]]:
    """Return each chip's text and its backbones."""
    matches = re.findall(r'<li class="[^"]*" title="([^"]*)">(.*?) <b>(\d+)</b></li>', html)
    return [(f"{label} {count}", names) for names, label, count in matches]


def kinds(html: str) -> list[str]:
    return [attributes["class"].split()[-1] for tag, attributes in Tags(html).elements if tag == "article"]


def test_header_has_a_duplicate_link_only_on_a_space():
    assert "Duplicate" not in cards.header("Lineup", "")
    (link,) = [attributes for tag, attributes in Tags(cards.header("Lineup", "", 'me/"x')).elements if tag == "a"]
    assert link["href"] == 'https://huggingface.co/spaces/me/"x?duplicate=true'


def test_comparison_has_a_card_per_backbone():
    html = compared({"a": classification(notes=("mind this",)), "b": classification(), "c": classification()})
    assert html.count("lu-line") == 6
    for words in ("The verdict.", "a", "b", "c", "jay", "90.0%", "crow", "mind this", "25 ms", "256 × 224 px"):
        assert words in Tags(html).text.split("\n")


def test_card_shows_the_model_input_with_alt_text():
    crop = classification(backbone=HOSTILE, model_input_jpeg=b"an image")
    (image,) = [attributes for tag, attributes in Tags(compared({"a": crop})).elements if tag == "img"]
    assert image["src"].startswith("data:image/jpeg;base64,")
    assert image["alt"] == f"model input of {HOSTILE}"


def test_pending_backbones_have_cards_and_no_verdict():
    html = compared({"b": classification()})
    assert Tags(html).text.split("\n")[:2] == ["Answers of 3 backbones", "a"]
    assert html.count("lu-pulse") == 2
    assert "The verdict." not in html


def test_failed_backbone_shows_cause_and_remedy_on_its_card():
    html = compared({"a": BackboneError("a", "x", "it is gone", "try later")}, names=["a"])
    assert kinds(html) == ["lu-failed"]
    assert "It is gone; try later." in Tags(html).text
    assert "The verdict." in html


def test_long_name_may_break_after_its_punctuation():
    html = cards.classification_card(classification(backbone="hf-hub:timm/vit_tiny.in1k"), 1)
    assert "<dd>hf-<wbr>hub:<wbr>timm/<wbr>vit_<wbr>tiny.<wbr>in1k</dd>" in html


def test_answer_and_verdict_have_an_announcement_and_progress_has_none():
    assert 'data-announcement="resnet18: jay, 90.0%"' in cards.classification_card(classification(), 3)
    assert 'data-announcement="The verdict."' in compared({"a": classification()}, names=["a"])
    assert "data-announcement" not in compared({"b": classification()})


def test_only_errors_interrupt_a_screen_reader():
    assert 'role="alert"' in html.problem("a problem", "its cause")
    assert "role=" not in html.classifying("a")


def test_dissenting_card_is_marked():
    answers = {name: classification(backbone=name) for name in "abcd"}
    classes = kinds(compared(answers, "abcd", majority="ac", dissenting="b", not_comparable="d"))
    assert classes == ["lu-small", "lu-dissent", "lu-small", "lu-small"]  # d is not compared
    assert kinds(compared(answers, "abcd")) == ["lu-small"] * 4


def test_verdict_has_a_chip_per_distinct_answer_and_for_failures():
    answers = {name: classification(backbone=name) for name in "abce"} | {"d": BackboneError("d", "x", "y", "z")}
    html = compared(answers, "abcde", majority="ab", dissenting="e", not_comparable="c")
    assert chips(html) == [("jay 2", "a, b"), ("crow 1", "e"), ("jay 1", "c"), ("no answer 1", "d")]
    assert re.findall('<li class="([^"]*)" title="[^"]*">[^<]+ <b>', html) == ["lu-majority", "lu-dissent", "", ""]


def test_verdict_names_excluded_backbones_with_reasons():
    too_many = "at most 2 are compared at once"
    left_out = {
        HOSTILE: BackboneError(HOSTILE, "", "it is gone"),
        "c": BackboneError("c", "", "so is this"),
        "d": too_many,
    }
    html = compared({"a": classification()}, ["a"], left_out=left_out)
    assert f"Left out: {HOSTILE}, c (unavailable); d ({too_many})." in Tags(html).text
    assert "Left out" not in compared({"a": classification()}, ["a"])


def test_card_names_a_class_missing_from_its_label_set():
    answers = {name: classification(backbone=name) for name in "abc"}
    html = compared(answers, "abc", majority="ab", missing_class="c")
    assert "has no class" not in compared(
        {"a": answers["a"], "c": answers["c"]}, "abc", majority="ab", missing_class="c"
    )
    assert html.count("Its label set has no class jay.") == 1
    assert html.index("Its label set has no class jay.") > html.index("<h3>c</h3>")


ROUNDED = [
    (0.95, "95 points ahead of crow"),
    (0.9951, "over 99 points ahead of crow"),
    (1.0, "100 points ahead of crow"),
    (0.0001, "under 1 point ahead of crow"),
    (0.0, "under 1 point ahead of crow"),
    (0.01, "1 point ahead of crow"),
    (0.02, "2 points ahead of crow"),
]


@pytest.mark.parametrize(("margin", "text"), ROUNDED)
def test_card_shows_the_margin_without_rounding_to_0_or_100(margin, text):
    assert text in Tags(compared({"a": classification(margin=margin)}, ["a"])).text.split("\n")


def test_single_class_answer_has_no_margin():
    only = classification(predictions=(Prediction(0, None, "jay", 1.0),), margin=1.0)
    assert "ahead" not in compared({"a": only}, ["a"])


# --- progress ---


def test_pending_panel_lists_several_backbones_with_stages():
    loading = BackboneStatus("b", "timm", "loading", progress=Progress("downloading", 25_000_000, 10**8))
    ready = [BackboneStatus(name, "timm", "ready") for name in "ac"]
    text = Tags(html.pending_panel([ready[0], loading, ready[1]])).text
    assert "3 backbones pending" in text
    assert "a: classifying, b: downloading 25.0 MB of 100.0 MB, c: queued" in text


def test_pending_panel_of_one_backbone_shows_its_progress():
    loading = BackboneStatus("b", "timm", "loading", progress=Progress("downloading", 25_000_000, 10**8))
    assert "Loading b: downloading 25.0 MB of 100.0 MB" in Tags(html.pending_panel([loading])).text
    assert "a is classifying the image" in Tags(html.pending_panel([BackboneStatus("a", "timm", "ready")])).text
    assert html.pending_panel([]) == ""


def test_measuring_shows_a_progress_bar_and_the_current_backbone():
    tags = Tags(panel.measuring(1, 4, html.classifying("b")))
    assert "1 of 4 measured" in tags.text
    assert "b is classifying the image" in tags.text
    assert ("div", {"class": "lu-fill", "style": "width:25.0%"}) in tags.elements


def test_measured_shows_the_count_and_the_errors():
    text = Tags(
        panel.measured(
            3, [BackboneError("a", "x", "it is gone", "try later"), BackboneError("b", "", "no form at all")]
        )
    ).text
    assert "3 measured" in text
    assert "It is gone; try later." in text
    assert "b: no form at all" in text


def test_short_choice_is_the_name_marked_if_unavailable():
    known = {"parameters": 11_689_512, "download_bytes": 46_800_000}
    assert cards.short_dropdown_label(BackboneStatus("resnet18", "timm", "idle", **known)) == "resnet18"
    gone = BackboneStatus("resnet5O", "timm", "unavailable", BackboneError("resnet5O", "", "no"))
    assert cards.short_dropdown_label(gone) == "resnet5O · ✕ unavailable"

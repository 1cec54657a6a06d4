"""What is taken as a label."""

import pytest

from lineup.errors import LineupError
from lineup.features.feedback.labels import normalized_class, normalized_label

KEPT = {
    "jay": "jay",
    "  blue \t jay\n": "blue jay",
    "Ba\u0308r": "Bär",
    "j\u200bay\ufeff": "jay",
    "jay\u200d": "jay",
    "jay\ufe0f": "jay",
    "a\u200b\u200d鳥": "a鳥",  # in two passes
    "\u212a\u200d鳥": "K鳥",
    "鳥": "鳥",
    "\U0001f469\u200d\U0001f52c": "\U0001f469\u200d\U0001f52c",
    "می\u200cخواهم": "می\u200cخواهم",
    "<script>alert(1)</script>": "<script>alert(1)</script>",
    "../../etc/passwd": "../../etc/passwd",
    "{{ 7*7 }}": "{{ 7*7 }}",
    "  " + "x" * 100: "x" * 100,
}
REFUSED = {
    "": "label: expected a label; it is empty; name what the image shows",
    " \u200b\n": "label: expected a label; it is empty; name what the image shows",
    "\u3164 \u2800": "label: expected a label; it is empty; name what the image shows",
    "a\0b": "label: expected characters that can be read; got a control character (U+0000); remove it",
    "a\x1b[31m": "label: expected characters that can be read; got a control character (U+001B); remove it",
    "\u202etxt.exe": "label: expected characters that can be read; got an invisible character (U+202E); remove it",
    "\ud800": "label: expected characters that can be read; got half of a character (U+D800); remove it",
    "x" * 101: "label: expected at most 100 characters; got 101; shorten it",
}


@pytest.mark.parametrize(("given", "label"), KEPT.items(), ids=[ascii(text[:12]) for text in KEPT])
def test_label_has_one_form(given, label):
    assert normalized_label(given) == label
    assert normalized_label(label) == normalized_class(label) == label


@pytest.mark.parametrize(("given", "message"), REFUSED.items(), ids=[ascii(text[:12]) for text in REFUSED])
def test_what_cannot_be_read_is_refused(given, message):
    with pytest.raises(LineupError) as caught:
        normalized_label(given)
    assert str(caught.value) == message


@pytest.mark.parametrize("given", [None, 3, ["jay"], b"jay"], ids=repr)
def test_label_is_text(given):
    with pytest.raises(LineupError, match="expected text"):
        normalized_label(given)


def test_class_of_a_backbone_may_be_long_and_have_marks_of_direction():
    assert normalized_class("x  " * 99) == " ".join(["x"] * 99)
    assert normalized_class("\u200fطائر\0 ") == "طائر"

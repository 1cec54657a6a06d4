"""Labels that users type, in one normal form."""

import re
import unicodedata

from lineup.errors import LineupError

MAX_CHARACTERS = 100  # of free text; a class of a backbone may be longer
_REMEDY = "name what the image shows"
_ZERO_WIDTH = re.compile(
    "[\u00ad\u034f\u180b-\u180f\u200b\u2060\ufe00-\ufe0f\ufeff]"  # variation selectors included
    # joiners, which words and emoji need between other characters than those of ASCII
    "|(?<![^\\x00-\\x7f\\s])[\u200c\u200d]+|[\u200c\u200d]+(?![^\\x00-\\x7f\\s\u200c\u200d])"
)
_BLANK = " \u115f\u1160\u2800\u3164\uffa0"  # letters and a sign that look like a space
_REFUSED = {"Cc": "a control character", "Cf": "an invisible character", "Cs": "half of a character"}


def normalized_label(given: object) -> str:
    """Return a label in Unicode's form NFC, without surrounding, repeated or zero-width spaces.

    A script or a path is text like any other: `folder_name` quotes it, and templates escape it.

    Raises:
        LineupError: when it is empty, too long, or has control, format or surrogate characters.
    """
    if not isinstance(given, str):
        raise LineupError("label", "text", f"got {type(given).__name__}", _REMEDY)
    label = _collapsed(given)
    if not label:
        raise LineupError("label", "a label", "it is empty", _REMEDY)
    if refused := next((char for char in label if _is_refused(char)), ""):
        got = f"got {_REFUSED[unicodedata.category(refused)]} (U+{ord(refused):04X})"
        raise LineupError("label", "characters that can be read", got, "remove it")
    if len(label) > MAX_CHARACTERS:
        raise LineupError("label", f"at most {MAX_CHARACTERS} characters", f"got {len(label)}", "shorten it")
    return label


def normalized_class(name: str) -> str:
    """Return a backbone's name of a class in the same form, whatever its length; it drops what cannot be read."""
    return _collapsed("".join(char for char in _collapsed(name) if not _is_refused(char)))


def _collapsed(text: str) -> str:
    # repeated, because removing a character can make its neighbours removable
    while (found := " ".join(unicodedata.normalize("NFC", _ZERO_WIDTH.sub("", text)).split())) != text:
        text = found
    return text if text.strip(_BLANK) else ""


def _is_refused(char: str) -> bool:
    return char not in "\u200c\u200d" and unicodedata.category(char) in _REFUSED

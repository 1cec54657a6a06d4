"""Explains why a file is not YAML: where to act, what was expected, and what to write.

PyYAML reports where its parser stopped, which for an unclosed quote is the end of the file. The cause is looked for in
the lines between the last complete token and that position.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

import yaml

from lineup.config.bounded_loader import BoundedLoader
from lineup.errors import brief

_OTHER_QUOTES = "“”„‟‘’‚‛«»"
_NAMES = {  # PyYAML's names of tokens
    "<stream end>": "the end of the file",
    "<document end>": "the end of the document",
    "<document start>": "---",
    "<scalar>": "text",
    "<block mapping start>": "a key",
    "<block sequence start>": "a dash",
    "<block end>": "the end of the lines that are indented alike",
}
_QUOTE_IT = "put the value in quotes"
_INDICATORS = {  # what PyYAML scans when it stops → the character that begins it, and its meaning
    "an alias": ("*", "refers to an anchor"),
    "an anchor": ("&", "defines an anchor"),
    "a tag": ("!", "begins a tag"),
    "a directive": ("%", "begins a directive"),
    "a block scalar": ("| or >", "begins a block of text in the lines below"),
}


class Finding(NamedTuple):
    """A syntax error: a 0-based position, and the parts of a message."""

    line: int
    column: int
    expected: str
    got: str
    remedy: str


def find(error: yaml.MarkedYAMLError, text: str) -> Finding:
    """Return the cause of PyYAML's error in a text, as far as it can be known from the lines around it."""
    place = _Place(error, text)
    return next(finding for rule in _RULES for finding in rule(place))


class _Place:
    """Where PyYAML stopped: its marks, the tokens before, and the lines in which the cause may be."""

    def __init__(self, error: yaml.MarkedYAMLError, text: str) -> None:
        self.problem, self.context = error.problem or brief(error, line=0), error.context or ""
        mark = error.problem_mark or error.context_mark or yaml.Mark("", 0, 0, 0, None, 0)
        self.mark, self.context_mark = mark, error.context_mark or mark
        self.lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)  # as PyYAML counts them
        self.tokens = [token for token in _tokens(text) if token.end_mark.index <= mark.index]
        self.last = next((token for token in reversed(self.tokens) if isinstance(token, _VISIBLE)), None)
        self.first = next((token.start_mark for token in self.tokens if isinstance(token, yaml.ScalarToken)), mark)
        openings: list[yaml.Token] = []
        for token in self.tokens:
            if isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken):
                openings.append(token)
            elif openings and isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken):
                openings.pop()
        self.opening = openings[-1] if openings else None  # the innermost bracket that is open
        match = re.search(r"(?:found|got) '(.+)'$", self.problem)
        name = match[1] if match else ""
        self.got = _NAMES.get(name, name)

    @property
    def after_closing(self) -> str:
        """Return the quote or bracket that ends directly before in the same line, or an empty string."""
        if self.last and self.last.end_mark.line == self.mark.line:
            style = getattr(self.last, "style", None) or getattr(self.last, "id", "")
            return style if style in ("'", '"', "]", "}") else ""
        return ""

    def suspects(self) -> Iterator[tuple[int, str]]:
        """Yield the lines in which the cause may be, with their numbers: from the last token to the position."""
        first = min(self.mark.line, self.last.start_mark.line if self.last else 0)
        if "simple key" in self.context or "flow" in self.context:
            first = min(first, self.context_mark.line)
        for number in range(first, self.mark.line + 1):
            yield number, self.lines[number] if number < len(self.lines) else ""


_VISIBLE = (yaml.ScalarToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEntryToken)


def _tokens(text: str) -> Iterator[yaml.Token]:
    try:
        yield from yaml.scan(text, BoundedLoader)
    except yaml.YAMLError:
        return


def _escape(place: _Place) -> Iterator[Finding]:
    """A backslash in double quotes, as in a path of Windows."""
    if re.match("(found unknown|expected) escape", place.problem):
        line = place.lines[place.mark.line]
        column = line.rindex("\\", 0, place.mark.column)
        got = f"got {line[column : column + 2]} in double quotes, where \\ starts an escape sequence"
        remedy = "in a path, write / instead of \\, or use single quotes"
        yield Finding(place.mark.line, column, "YAML", got, remedy)


def _quote(place: _Place) -> Iterator[Finding]:
    """A quote that is never closed, or by that of another value lines below."""
    opening, end = None, "the end of the file"
    if place.context == "while scanning a quoted scalar":
        opening = place.context_mark
        end = "a line with ---" if "separator" in place.problem else end
    for token in place.tokens:
        start = token.start_mark
        ends_there = token.end_mark.line in (place.mark.line, opening.line if opening else -1)
        is_quoted = isinstance(token, yaml.ScalarToken) and token.style in ("'", '"')
        if is_quoted and ends_there and start.line < token.end_mark.line:
            opening, end = start, f"the next one in line {token.end_mark.line + 1}"
            break
    if opening:
        quote = place.lines[opening.line][opening.column]
        expected = f"a closing {quote} for the quote that is opened here"
        yield Finding(opening.line, opening.column, expected, f"got {end}", f"close it, or remove this {quote}")


def _character(place: _Place) -> Iterator[Finding]:
    """A tab, or a character that looks like one of YAML's."""
    for number, line in place.suspects():
        code = re.sub(r"\s#.*", "", line)
        indentation = re.match(r"\s*", code)
        for column, char in enumerate(indentation[0] if indentation else ""):
            if char == "\t":
                yield Finding(number, column, "spaces as indentation", "got a tab", "replace it by spaces")
            if char != " ":
                yield Finding(number, column, "spaces as indentation", f"got {_name(char)}", "replace it by spaces")
        if match := re.search(r"(?<=[:\-,\[{])[^\S ]|[^\S ]+$|\t(?=#|$)", line if "\t" in line else code):
            yield Finding(number, match.start(), "spaces", f"got {_name(match[0][0])}", "replace it by spaces")
        if match := re.search(rf"(?:^|[:\-,\[{{]) *([{_OTHER_QUOTES}])", code):
            got = f"got {match[1]}, which is text to YAML"
            yield Finding(number, match.start(1), "straight quotes", got, 'write " instead of it')
        if match := re.search(r"[：﹕꞉]", code):
            yield Finding(number, match.start(), "a colon", f"got {_name(match[0])}", "write : and a space")
    if "\\t" in place.problem:
        yield Finding(place.mark.line, place.mark.column, "spaces", "got a tab", "replace it by spaces")


def _name(char: str) -> str:
    return "a tab" if char == "\t" else f"{unicodedata.name(char, 'a character').lower()} (U+{ord(char):04X})"


def _bracket(place: _Place) -> Iterator[Finding]:
    """A bracket that is not closed, or a missing comma within."""
    if place.opening is None:
        return
    start, mark = place.opening.start_mark, place.mark
    bracket, closing = ("[", "]") if isinstance(place.opening, yaml.FlowSequenceStartToken) else ("{", "}")
    if start.line != mark.line:
        got = place.got if place.got.startswith("the end") else f"none up to line {mark.line + 1}"
        expected = f"a closing {closing} for the {bracket} that is opened here"
        yield Finding(start.line, start.column, expected, f"got {got}", f"add {closing}, or a missing comma")
    elif place.after_closing in ("'", '"'):
        yield from _after_closing(place)
    elif re.match("expected ',' or", place.problem):
        remedy = "separate the items by commas, and put text with special characters in quotes"
        yield Finding(mark.line, mark.column, f"a comma or {closing}", f"got {place.got}", remedy)


def _missing_space(place: _Place) -> Iterator[Finding]:
    """A colon or a dash without a space after it, which makes text of both."""
    for number, line in place.suspects():
        if match := re.match(r"\s*(?:- +)?(?:[a-z_]+):(?=[^\s:/])", line):
            key = match[0].strip(" -")
            got = f"got {(key + line[match.end() :])[:40].strip()}"
            yield Finding(number, match.end() - 1, "a space after the colon", got, f"write a space after {key}")
        if match := re.match(r"\s*-(?=[^\s\-\d.])", line):
            got = f"got {line.strip()[:40]}"
            yield Finding(number, match.end() - 1, "a space after the dash", got, "write a space after it")


def _after_closing(place: _Place) -> Iterator[Finding]:
    """Text after the quote or the bracket that ends a value."""
    if (closing := place.after_closing) and "expected" in place.problem:
        remedy = "put a comma between, or remove it" if closing in "]}" else "write one pair of quotes around the value"
        if closing == "'":
            remedy += ", and '' for an apostrophe in it"
        got = f"got {place.got} after it"
        yield Finding(place.mark.line, place.mark.column, f"nothing after the closing {closing}", got, remedy)


def _second_colon(place: _Place) -> Iterator[Finding]:
    """A colon in a value, or in a line that PyYAML takes for the rest of the value above."""
    if place.problem != "mapping values are not allowed here":
        return
    line, last = place.lines[place.mark.line], place.last
    if last and last.start_mark.line < place.mark.line:
        column = len(line) - len(line.lstrip())
        got = f"got column {column + 1}, where it continues the value in line {last.start_mark.line + 1}"
        yield Finding(place.mark.line, column, "the indentation of the key above", got, "indent it as that key")
    yield Finding(
        place.mark.line, place.mark.column, "one key in a line", "got a second colon followed by a space", _QUOTE_IT
    )


def _no_colon(place: _Place) -> Iterator[Finding]:
    """A line in a mapping that is no key."""
    if place.problem == "could not find expected ':'":
        start = place.context_mark
        got = f"got {place.lines[start.line][start.column :].strip()[:40]!r}"
        remedy = "add the colon, or the dash, or indent the line as the text above that it continues"
        yield Finding(start.line, start.column, "`key: value` or `- item`", got, remedy)


def _indentation(place: _Place) -> Iterator[Finding]:
    """A line in a column in which no line above begins."""
    mark = place.mark
    if place.problem == "sequence entries are not allowed here":
        remedy = "begin the list in the line below, or put the text in quotes"
        yield Finding(mark.line, mark.column, "a dash at the beginning of a line", "got one after other text", remedy)
    first, above = place.first, place.context_mark
    if place.problem.startswith("expected '<document start>'") and first.line < mark.line and first.column:
        expected, remedy = f"the column of line {mark.line + 1}, which is {mark.column + 1}", "indent both alike"
        yield Finding(first.line, first.column, expected, f"got column {first.column + 1}", remedy)
    if place.problem.startswith(("expected <block end>", "expected '<document start>'")):
        expected = "a line that begins in the same column as one above"
        if above.line < mark.line:
            expected += f", such as line {above.line + 1} in column {above.column + 1}"
        if place.got in ("]", "}"):
            yield Finding(mark.line, mark.column, "an opening bracket first", f"got {place.got}", "remove it")
        got = f"got {place.got} in column {mark.column + 1}"
        yield Finding(mark.line, mark.column, expected, got, "indent it as the lines that it belongs to")


def _indicator(place: _Place) -> Iterator[Finding]:
    """A value that begins with a character that has a meaning in YAML."""
    if match := re.fullmatch(r"found character '(.+)' that cannot start any token", place.problem):
        got = f"got {match[1]}, which YAML reserves"
        yield Finding(place.mark.line, place.mark.column, "a value", got, _QUOTE_IT)
    for what, (char, meaning) in _INDICATORS.items():
        if re.fullmatch(f"while (scanning|parsing) {what}", place.context):
            start = place.context_mark
            yield Finding(start.line, start.column, "a value", f"got {char}, which {meaning}", _QUOTE_IT)
    if place.problem.startswith("found undefined tag handle"):
        got = f"got the {place.problem.removeprefix('found ')}, as ! begins a tag"
        yield Finding(place.mark.line, place.mark.column, "a value", got, _QUOTE_IT)
    if place.problem.startswith(("found incompatible YAML", "found duplicate YAML", "duplicate tag handle")):
        yield Finding(place.mark.line, place.mark.column, "keys and values", "got a directive", "remove this line")
    if place.problem.startswith("expected the node content"):
        remedy = "write the value, or remove this character"
        yield Finding(place.mark.line, place.mark.column, "a value", f"got {place.got}", remedy)


def _document(place: _Place) -> Iterator[Finding]:
    """More than one document."""
    if place.problem == "but found another document":
        remedy = "remove this line, or what is not needed"
        yield Finding(place.mark.line, place.mark.column, "one document", "got a second one after ---", remedy)


def _unknown(place: _Place) -> Iterator[Finding]:
    remedy = "check the indentation there and above, and put special characters in quotes"
    yield Finding(place.mark.line, place.mark.column, "YAML", f"got {place.problem}", remedy)


# The first finding counts: what explains others comes first.
_RULES = [
    *(_escape, _quote, _character, _missing_space, _bracket, _after_closing, _second_colon, _no_colon),
    *(_indentation, _indicator, _document, _unknown),
]

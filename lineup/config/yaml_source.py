"""Parses YAML into plain values and records the position of each."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lineup.config import yaml_syntax
from lineup.config.bounded_loader import BoundedLoader
from lineup.errors import ConfigError, LineupError, brief

MAX_NUMBER_LENGTH = 100  # characters
_PATHS = ("backbone", "checkpoint", "labels", "examples", "image", "to")
_NO_BACKSLASHES = "write / instead of \\, or use single quotes"
_COLLECTIONS = (yaml.SafeLoader.DEFAULT_MAPPING_TAG, yaml.SafeLoader.DEFAULT_SEQUENCE_TAG)

Location = tuple[str | int, ...]  # path of a value as keys and indices: ("backbones", 2, "labels")


@dataclass(frozen=True)
class Document:
    """The values of a YAML file and the position of each key and list item."""

    name: str
    values: Any
    positions: dict[Location, tuple[int, int]]
    problems: tuple[str, ...] = ()  # duplicate keys, reported together with validation errors

    def where(self, trail: Location) -> str:
        """Format a location as ``config.yaml:12:5: backbones[2].labels``.

        A missing key gets the position of its nearest parent.
        """
        line, column = self.position(trail)
        path = format_path(trail)
        return f"{self.name}:{line}:{column}" + (f": {path}" if path else "")

    def position(self, trail: Location) -> tuple[int, int]:
        """Return the 1-based line and column of a location, or of its nearest parent in the file."""
        while trail and trail not in self.positions:
            trail = trail[:-1]
        return self.positions.get(trail, (1, 1))


def format_path(trail: Location) -> str:
    """Format a location as a key path: ``backbones[2].labels``."""
    text = ""
    for step in trail:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def read(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        ConfigError: when the file is missing or is not valid YAML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: expected a config file; there is none; create it, or name another with --config"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: expected a config file; got a folder; name the file in it") from None
    except OSError as error:
        raise ConfigError(f"{path}: expected a config file; it cannot be read: {error.strerror}; check it") from None
    except UnicodeDecodeError as error:
        raise ConfigError(_encoding_problem(error, path.name)) from None
    return parse(text, path.name)


def parse(text: str, name: str) -> Document:
    """Parse YAML text; `name` is the file name used in messages."""
    try:
        loader = _Loader(text, name)
        try:
            node = loader.get_single_node()
            values = loader.plain(node, ()) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_problem(error, name, text)) from None
    except yaml.reader.ReaderError as error:
        line, column = _line_and_column(text[: error.position])
        got = f"got the control character U+{error.character:04X}"
        raise ConfigError(f"{name}:{line}:{column}: expected printable text; {got}; remove it") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{name}:1:1: expected YAML; got {brief(error, line=0)}; check the file's text") from None
    return Document(name, values, loader.positions, tuple(loader.problems))


class _Loader(BoundedLoader):
    """Constructs values itself, to record the position of each node."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.file = name
        self.positions: dict[Location, tuple[int, int]] = {}
        self.problems: list[str] = []
        self._constructed: set[yaml.Node] = set()

    def plain(self, node: yaml.Node, trail: Location) -> Any:
        if node in self._constructed:  # if PyYAML does not call BoundedLoader.compose_node any more
            raise yaml.MarkedYAMLError(problem="an alias of this; write the value out", problem_mark=node.start_mark)
        self._constructed.add(node)
        self.positions.setdefault(trail, _position(node))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            raise yaml.MarkedYAMLError(problem=f"the tag {node.tag}; remove it", problem_mark=node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*trail, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, trail)
        try:
            node.value.encode()  # raises on a lone surrogate, which an escape sequence can produce
            kind = node.tag.rpartition(":")[2]
            if kind in ("str", "timestamp"):  # no key takes a date: keep it as text
                if isinstance(node, yaml.ScalarNode) and node.style == '"' and _is_path(trail):
                    _check_escapes(node)
                return node.value
            if kind not in ("int", "float", "bool", "null") or len(node.value) > MAX_NUMBER_LENGTH:
                raise ValueError
            if kind in ("int", "float") and re.search(r":|^[-+]?0[0-9]", node.value):
                raise ValueError  # YAML 1.1 reads 1:30 as 90 and 010 as 8
            return self.construct_object(node)
        except (ValueError, LookupError, AttributeError, OverflowError):
            value = node.value[:40].encode(errors="replace").decode()
            raise yaml.MarkedYAMLError(
                problem=f"{value!r}, which cannot be read as {node.tag}; "
                f"write {format_path(trail) or 'it'} as a plain number, or as text in quotes",
                problem_mark=node.start_mark,
            ) from None

    def _mapping(self, node: yaml.MappingNode, trail: Location) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value.isprintable():
                raise yaml.MarkedYAMLError(
                    problem="a key that is not plain text; write a word as the key", problem_mark=key_node.start_mark
                )
            key: Hashable = key_node.value  # verbatim: YAML 1.1 would parse a key "on" as true
            location = (*trail, key_node.value)
            if key in values:
                line, column = _position(key_node)
                self.problems.append(
                    f"{self.file}:{line}:{column}: {format_path(location)}: expected each key once; "
                    f"already defined in line {self.positions[location][0]}; remove one of the two"
                )
                continue
            self.positions[location] = _position(key_node)
            values[key] = self.plain(value_node, location)
        return values


def _is_path(trail: Location) -> bool:
    return trail[-1:] != () and (trail[-1] in _PATHS or trail[:-1] in (("backbones",), ("examples",)))


def _check_escapes(node: yaml.ScalarNode) -> None:
    """Refuse a path in double quotes in which a backslash, as of Windows, has swallowed a letter.

    Raises:
        MarkedYAMLError: there is an escape sequence that JSON does not write for a path.
    """
    start, end = node.start_mark, node.end_mark
    text = str(start.buffer)[start.pointer : end.pointer]
    for escape in re.finditer(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)", text, re.DOTALL):
        code = int(escape[1] or escape[2] or "0", 16)
        if escape[0][1] in '\\"/ \n':
            continue
        if code < 128 or not chr(code).isprintable():
            raise yaml.MarkedYAMLError(
                problem=f"the path {text}, in which {escape[0]} stands for one character; {_NO_BACKSLASHES}",
                problem_mark=start,
            )


def _encoding_problem(error: UnicodeDecodeError, name: str) -> str:
    content = error.object
    line, column = _line_and_column(content[: error.start].decode(errors="replace"))
    got = f"the byte 0x{content[error.start]:02x}, as in the encodings of older editors"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        line, column, got = 1, 1, "UTF-16, which some editors call Unicode"
    return f"{name}:{line}:{column}: expected UTF-8 text; got {got}; save the file again as UTF-8"


def _line_and_column(before: str) -> tuple[int, int]:
    """Return the 1-based line and column of what follows a text."""
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", before)
    return len(lines), len(lines[-1]) + 1


def _position(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _syntax_problem(error: yaml.MarkedYAMLError, name: str, text: str) -> str:
    mark = error.problem_mark
    if mark and error.problem and ";" in error.problem:  # of this module, or of the bounded loader
        return f"{name}:{mark.line + 1}:{mark.column + 1}: expected YAML; got {printable(error.problem)}"
    line, column, *parts = yaml_syntax.find(error, text)
    expected, got, remedy = map(printable, parts)
    return str(LineupError(f"{name}:{line + 1}:{column + 1}", expected, got, remedy))


def printable(text: str) -> str:
    """Replace control and other non-printable characters by question marks."""
    return "".join(char if char.isprintable() else "?" for char in text)


def format_value(value: Any) -> str:
    """Format a value for an error message, in at most 80 characters."""
    names = {None: "nothing", True: "true", False: "false"}
    text = names[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"

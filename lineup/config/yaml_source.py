"""Reads a YAML document into plain values, and remembers where each of them stands."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lineup.errors import ConfigError, brief

MAX_NUMBER_LENGTH = 100  # characters
MAX_DEPTH = 20  # brackets around it
_COLLECTIONS = (yaml.SafeLoader.DEFAULT_MAPPING_TAG, yaml.SafeLoader.DEFAULT_SEQUENCE_TAG)

Location = tuple[str | int, ...]  # the keys and indices that lead to a value: ("backbones", 2, "labels")


@dataclass(frozen=True)
class Document:
    """The values of a YAML file and the position of each key and list item."""

    name: str
    values: Any
    positions: dict[Location, tuple[int, int]]
    problems: tuple[str, ...] = ()  # keys said twice: reported together with whatever else is wrong

    def where(self, trail: Location) -> str:
        """Name a place as ``config.yaml:12:5: backbones[2].labels``.

        A key that is missing gets its nearest parent's position.
        """
        line, column = self.position(trail)
        spelled = spell(trail)
        return f"{self.name}:{line}:{column}" + (f": {spelled}" if spelled else "")

    def position(self, trail: Location) -> tuple[int, int]:
        """Return line and column, from 1, of a place or of its nearest parent that is in the file."""
        while trail and trail not in self.positions:
            trail = trail[:-1]
        return self.positions.get(trail, (1, 1))


def spell(trail: Location) -> str:
    """Spell a trail the way people write it: ``backbones[2].labels``."""
    text = ""
    for step in trail:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def read(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        ConfigError: when the file is missing or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: expected a config file; there is none; create it, or name another with --config"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: expected a config file; got a folder; name the file in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}:1:1: expected UTF-8 text; got {error}; save it again as UTF-8") from None
    return parse(text, path.name)


def parse(text: str, name: str) -> Document:
    """Parse YAML text; `name` is the file's name in messages."""
    try:
        loader = _Loader(text, name)
        try:
            node = loader.get_single_node()
            values = loader.plain(node, ()) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_broken(error, name)) from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{name}:1:1: expected YAML; got {brief(error, line=0)}; check the file's text") from None
    return Document(name, values, loader.positions, tuple(loader.problems))


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, walking the nodes itself so that positions survive."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.file = name
        self.positions: dict[Location, tuple[int, int]] = {}
        self.problems: list[str] = []

    def save_possible_simple_key(self) -> None:
        # At every token PyYAML asks each open bracket for its key: a thousand of them took a second.
        if self.flow_level < MAX_DEPTH:
            super().save_possible_simple_key()

    def compose_node(self, parent: Any, index: Any) -> Any:
        # An alias can multiply a small file into an endless one, and no config needs one.
        event: Any = self.peek_event()
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem=f"the alias *{event.anchor}; write the value out", problem_mark=event.start_mark
            )
        if event.anchor in self.anchors:
            raise yaml.MarkedYAMLError(
                problem=f"the anchor &{event.anchor} again; remove it", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def plain(self, node: yaml.Node, trail: Location) -> Any:
        self.positions.setdefault(trail, _position(node))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            raise yaml.MarkedYAMLError(problem=f"the tag {node.tag}; remove it", problem_mark=node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*trail, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, trail)
        try:
            node.value.encode()  # an escape can smuggle in half a character
            kind = node.tag.rpartition(":")[2]
            if kind in ("str", "timestamp"):  # a date is of no use here, so it is the text that was written
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
                f"write {spell(trail) or 'it'} as a plain number, or as text in quotes",
                problem_mark=node.start_mark,
            ) from None

    def _mapping(self, node: yaml.MappingNode, trail: Location) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value.isprintable():
                raise yaml.MarkedYAMLError(
                    problem="a key that is not plain text; write a word as the key", problem_mark=key_node.start_mark
                )
            key: Hashable = key_node.value  # as written: a key "on" stays "on", YAML 1.1 would make it true
            place = (*trail, key_node.value)
            if key in values:
                line, column = _position(key_node)
                self.problems.append(
                    f"{self.file}:{line}:{column}: {spell(place)}: expected each key once; "
                    f"it stands in line {self.positions[place][0]} already; remove one of the two"
                )
                continue
            self.positions[place] = _position(key_node)
            values[key] = self.plain(value_node, place)
        return values


def _position(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _broken(error: yaml.MarkedYAMLError, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = error.problem or brief(error, line=0)
    hint = "" if ";" in problem else "; check the indentation there and above, and put special characters in quotes"
    return f"{name}:{line}:{column}: expected YAML; got {printable(problem)}{hint}"


def printable(text: str) -> str:
    """Put a question mark for each character that would break a message's line, or cannot be seen."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def shown(value: Any) -> str:
    names = {None: "nothing", True: "true", False: "false"}
    text = names[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"

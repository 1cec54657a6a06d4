"""Reads label files: JSON, YAML, literals of Python, CSV, and lines.

Nothing in a file is executed. What leaves the names of the classes or their order in doubt is an error.
"""

import ast
import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from lineup.config.bounded_loader import BoundedLoader
from lineup.errors import BackboneError
from lineup.registry.label_lines import from_lines
from lineup.registry.label_tables import Classes, Pairs, from_value, is_container
from lineup.registry.labels import Label, LabelSet

MAX_BYTES = 5_000_000
MAX_PARSED_CHARS = 1_000_000  # of YAML or Python, which take seconds per million; JSON may have more
MAX_NAME_CHARS = 1000

_BINARY = [
    (b"PK\x03\x04", "a ZIP archive, such as an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an Excel or Word document"),
    (b"\x80", "a pickle"),
    (b"\x93NUMPY", "an array of NumPy"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WebP image"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF", "an HDF5 file"),
]
_TEXT = [
    (r"version https://git-lfs", "a pointer of Git LFS", "fetch the file with `git lfs pull`"),
    (r"(?i:<!doctype|<html|<\?xml|<svg)", "an HTML or XML document", "download the file itself"),
    (r"item\s*:?\s*\{", "a label map of TensorFlow, which numbers the classes from 1", ""),
    (r"\{\\rtf", "an RTF document", "save it as plain text"),
    (r"\(?[ld]p0\s|c(numpy|builtins|copy_reg)\b", "a pickle", ""),
]
_ENCODINGS = [  # by byte order mark; that of UTF-32 begins with that of UTF-16
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
]
_REMEDY = "write one name per line, as UTF-8 text"
# brackets with brackets, quotes or numbers in them, and assignments, are data; other brackets may be part of a name
_CODE = re.compile(
    r"[\[({]\s*([\"'\[({]|[0-9]+\s*[:,]|\n)|(?:(?:const|let|var)\s+)?[A-Za-z_][\w.]*\s*(:[^=\n]*)?=\s*([\w.]+\()?[\[({]"
    r"|[\w.]+\(\s*[\[({]"
)
_KEY = re.compile(r"^[\"']?([A-Za-z]\w*)[\"']?\s*:", re.MULTILINE)
_STRING = re.compile(r"[bBrRuU]*(\"([^\"\\]|\\.)*\"|'([^'\\]|\\.)*')")
_CALLS = ("array", "Index", "dict_keys", "list", "tuple", "dict", "OrderedDict")


def read(path: Path) -> LabelSet:
    """Read a label file; a WordNet id is the name of a class that has no other.

    Raises:
        BackboneError: the file is missing, is no text, or leaves the names or their order in doubt.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        got, remedy = f"{path} does not exist", "check the path; names themselves are a list: `labels: [cat, dog]`"
        raise BackboneError("labels", "a file with the names of the classes", got, remedy) from None
    except (OSError, ValueError) as error:
        got = f"{path}: {getattr(error, 'strerror', None) or 'no valid path'}"
        raise BackboneError("labels", "a file of names", got, "check the path") from None
    try:
        classes = _parse(_text(data), path.suffix.lower())
        names = _checked(classes.names)
    except BackboneError as error:
        raise error.at(f"labels: {path.name}") from None
    ids: Sequence[str | None] = classes.ids or [None] * len(names)
    labels = tuple(Label(synset, name) for synset, name in zip(ids, names, strict=True))
    return LabelSet(labels, f"{path.name}, {classes.origin}" if classes.origin else path.name)


def _text(data: bytes) -> str:
    """Decode a file: UTF-8, or what its byte order mark says."""
    if len(data) > MAX_BYTES:
        raise BackboneError("", f"at most {MAX_BYTES // 10**6} MB of names", "the file is larger", _REMEDY)
    kind = next((kind for start, kind in _BINARY if data.startswith(start)), "")
    encoding = next((encoding for mark, encoding in _ENCODINGS if data.startswith(mark)), "utf-8-sig")
    try:
        text = "" if kind else data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        got = f"byte 0x{data[error.start]:02x} in line {line} is not valid {encoding.removesuffix('-sig').upper()}"
        raise BackboneError("", "a UTF-8 text file", got, "save it again as UTF-8") from None
    if kind or "\0" in text:
        got = f"it is {kind or 'binary, or UTF-16 without a byte order mark'}"
        raise BackboneError("", "a text file", got, _REMEDY)
    return re.sub(r"\r+\n|\r", "\n", text).replace("\ufeff", "")


def _checked(names: Sequence[str]) -> list[str]:
    """Return the names with single spaces, if they are printable, and mostly different."""
    names = [" ".join(name.split()) for name in names]
    if not names:
        raise BackboneError("", "a name for each class", "there is none", _REMEDY)
    for index, name in enumerate(names):
        if not name or len(name) > MAX_NAME_CHARS or re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", name):
            got = f"that of class {index} is {ascii(name[:40]) if name else 'empty'}"
            raise BackboneError("", f"names of 1 to {MAX_NAME_CHARS} printable characters", got, "correct it")
    different = len(set(names))
    if 1 < len(names) >= 2 * different:
        got = f"of {len(names)} names, {different} {'is' if different == 1 else 'are'} different"
        raise BackboneError("", "the name of each class once", got, "list the classes, not the images")
    return names


def _parse(text: str, suffix: str) -> Classes:
    body, is_csv = text.strip(), suffix in (".csv", ".tsv")
    for pattern, kind, remedy in _TEXT:
        if re.match(pattern, body):
            raise BackboneError("", "a file with the names of the classes", f"it is {kind}", remedy or _REMEDY)
    if not is_csv and body:
        is_code = suffix == ".py" or bool(_CODE.match(body))
        value = _json(body)
        if value is None and (is_code or body[0] in "'\""):
            value = _python(body)
        if value is None:
            value = _yaml(body, is_required=suffix in (".yaml", ".yml"))
        if value is not None:
            return from_value(value)
        if is_code or suffix in (".json", ".jsonl"):
            got = _json_problem(body) if suffix == ".json" else "it is none of them"
            raise BackboneError("", "a list or a mapping in JSON, YAML or Python", got, _REMEDY)
    return from_lines(text, is_csv)


def _json(text: str) -> Any:
    """Parse JSON, JSON Lines, or the items of a list or an object without its brackets; None if it is none of them."""
    items = text.rstrip(", \n")
    for parts in ([f"[{items}]"], [f"{{{items}}}"]) if text[0] == '"' else ([text], text.split("\n")):
        try:
            values = [_loads(part) for part in parts]
        except (ValueError, RecursionError):
            continue
        if all(isinstance(value, list) for value in values):
            return values if len(values) > 1 else values[0]
    return None


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Pairs, parse_int=str, parse_float=str, parse_constant=str)


def _json_problem(text: str) -> str:
    try:
        _loads(text)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    except (ValueError, RecursionError):
        pass
    return "it is none of them"


def _python(text: str) -> Any:
    """Parse a list, a tuple or a dict of Python, the assignment of one, or its items; None if it is none of them."""
    text = re.sub(r"^(?:const|let|var)\s+", "", text)
    is_bare = text[0] in "'\""
    for candidate in ([f"[{text}\n]", f"{{{text}\n}}"] if is_bare else [text]) if len(text) <= MAX_PARSED_CHARS else []:
        try:
            body = ast.parse(candidate).body
            found = list(_lists(body, candidate.encode().split(b"\n")))
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        except BackboneError:
            if is_bare:
                continue
            raise
        if len(found) > 1:
            raise BackboneError("", "one list of classes", f"got {len(found)} lists", "keep one of them")
        if found:
            return found[0]
    return None


def _lists(body: Sequence[ast.stmt], lines: Sequence[bytes]) -> Iterator[Any]:
    """Yield the lists and dicts among the statements of a module."""
    for statement in body:
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr):
            with contextlib.suppress(ValueError):
                value = _literal(statement.value, lines)
                if isinstance(value, list):
                    yield value


def _literal(node: ast.expr | None, lines: Sequence[bytes]) -> Any:
    """Return the value of a literal in `lines`; a call such as ``np.array([…])`` is its first argument.

    Raises:
        ValueError: it is not a literal.
        BackboneError: it is a set, or strings follow one another without a comma.
    """
    match node:
        case ast.List(items) | ast.Tuple(items):
            return [_literal(item, lines) for item in items]
        case ast.Dict(keys, values):
            return Pairs((_literal(key, lines), _literal(item, lines)) for key, item in zip(keys, values, strict=True))
        case ast.Call(ast.Name(name) | ast.Attribute(attr=name), [argument, *_]) if name in _CALLS:
            return _literal(argument, lines)
        case ast.Constant(str(value)):
            source = lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()
            if node.lineno != node.end_lineno or not _STRING.fullmatch(source):
                got = f"one is missing in line {node.lineno}"
                raise BackboneError("", "a comma between any two names", got, "add it")
            return value
        case ast.Constant(int(value)) if not isinstance(value, bool):
            return str(value)
        case ast.Set():
            raise BackboneError("", "a list of classes", "got a set, which has no order", "write a list")
    raise ValueError("not a literal")


def _yaml(text: str, is_required: bool) -> Any:
    """Parse YAML: a list or a mapping if that is required, else one in brackets, or with a known key; else None."""
    in_brackets = text[0] + text[-1] in ("[]", "{}") and "," in text
    if not is_required and not in_brackets and not any(map(is_container, _KEY.findall(text))):
        return None
    try:
        if len(text) > MAX_PARSED_CHARS:
            raise yaml.MarkedYAMLError(problem=f"the file has more than {MAX_PARSED_CHARS} characters")
        loader = BoundedLoader(text)
        try:
            value = _plain(loader.get_single_node())
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if not is_required:
            return None
        mark = getattr(error, "problem_mark", None)
        got = f"line {mark.line + 1 if mark else 1}: {getattr(error, 'problem', None) or 'it cannot be read'}"
        raise BackboneError("", "YAML", got, _REMEDY) from None
    if is_required and not isinstance(value, list):
        raise BackboneError("", "a list or a mapping in YAML", "it is neither", _REMEDY)
    has_key = isinstance(value, Pairs) and any(is_container(key) and isinstance(each, list) for key, each in value)
    return value if is_required or has_key or (in_brackets and isinstance(value, list)) else None


def _plain(node: yaml.Node | None) -> Any:
    """Return the values of a node; a scalar is its text: to YAML, ``no`` is a boolean, and ``1:30`` is 90."""
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return Pairs((key.value, _plain(value)) for key, value in node.value if isinstance(key, yaml.ScalarNode))
    return node.value if node else None

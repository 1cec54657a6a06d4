"""Checks where feedback is to be kept: a folder that nothing else serves or uploads, or a data set of the Hub."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lineup.config.yaml_source import format_value

PREFIX = "hf://datasets/"
MAX_PATH_BYTES = 2000  # of the folder; file systems allow 4096, and labels and names of files are below it
MAX_NAME_BYTES = 255
_EXPECTED = "expected a folder, or hf://datasets/OWNER/NAME"
_PACKAGE = Path(__file__).parents[1]
_UPLOADED = tuple(_PACKAGE.parent / name for name in ("docs", "deploy", "recipes"))  # to a Space, with the package


def repo(to: str) -> str:
    """Return the repository of an address such as ``hf://datasets/me/birds``; empty for a folder."""
    return to.removeprefix(PREFIX) if to.startswith(PREFIX) else ""


def checked(to: str) -> str:
    """Return the value of `feedback.to`, if it is well-formed.

    Raises:
        ValueError: when it is not; the message says what to write instead.
    """
    got = f"got {format_value(to)}"
    if not to.strip():
        raise ValueError(f"{_EXPECTED}; {got}; write one, or leave `to` out")
    if not to.isprintable() or to != to.strip():
        raise ValueError(f"{_EXPECTED}; {got}, with spaces around it or characters that are not printable; fix it")
    if to.startswith(PREFIX):
        _check_repo(to)
    elif "://" in to or to.startswith(("hf:", "hf-hub:")):
        address = to.rstrip("/").partition("/datasets/")[2]
        hint = f"write {PREFIX}{address}" if address.count("/") == 1 else "write one of the two"
        raise ValueError(f"{_EXPECTED}; {got}; {hint}")
    elif len(os.fsencode(to)) > MAX_PATH_BYTES or _longest(to) > MAX_NAME_BYTES:
        raise ValueError(f"{_EXPECTED}; {got}, which is too long; write a shorter one")
    elif "\\" in to:
        raise ValueError(f"{_EXPECTED}; {got}; write / instead of \\")
    return to


def resolved(to: str, folder: Path) -> Path:
    """Return the absolute path of a folder of feedback.

    Args:
        to: the value of `feedback.to`.
        folder: the config's, against which a relative path is resolved.

    Raises:
        ValueError: when it has none: the message begins with *got*.
    """
    try:
        return (folder / Path(to).expanduser()).resolve()
    except RuntimeError as error:  # of a user who is unknown, or links in a circle
        raise ValueError(f"got {format_value(to)}, which cannot be resolved; write the whole path") from error
    except OSError as error:
        raise ValueError(f"got {format_value(to)}: {error.strerror}; choose another folder") from error


def folder_problem(to: str, folder: Path, folders: Iterable[str], files: Iterable[str]) -> str:
    """Return why a folder cannot be used: *expected …; got …; remedy*; empty if it can.

    Args:
        to: the value of `feedback.to`, a folder.
        folder: the config's.
        folders: those that the config names, whose content is served or uploaded, relative to the config's.
        files: those that it names, which must not be in the folder.
    """
    try:
        root, top = resolved(to, folder), folder.resolve()
    except ValueError as error:
        return f"{_EXPECTED}; {error}"
    if root == top or root in top.parents:
        return _served(to, "the config's own folder" if root == top else "around the config's own folder")
    try:
        for served, what in _served_folders(top, folders):
            if root == served or served in root.parents:
                return _served(to, f"in {what}" if root != served else what)
            if root in served.parents:
                return _served(to, f"around {what}")
        if any(root in (top / name).resolve().parents for name in files if "://" not in name):
            return _served(to, "around an example image")
    except (OSError, ValueError):  # of a path that another message is about
        return ""
    return "" if root.is_dir() or not root.exists() else f"{_EXPECTED}; got {format_value(to)}, a file; choose another"


def _served_folders(top: Path, folders: Iterable[str]) -> Iterable[tuple[Path, str]]:
    uploads = os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir()) / "lineup-uploads"
    yield Path(uploads).resolve(), "the folder of uploads, which the server empties"
    yield _PACKAGE.resolve(), "the code of the app"
    for path in _UPLOADED:
        yield path.resolve(), f"{path.name}, which is uploaded to a Space"
    for name in folders:
        yield (top / name).resolve(), f"{format_value(name)}, which the config names"


def _served(to: str, where: str) -> str:
    expected = "expected a folder that is neither served nor uploaded to a Space"
    return f"{expected}; got {format_value(to)}, {where}; choose one for feedback alone, such as feedback"


def _longest(to: str) -> int:
    return max((len(os.fsencode(part)) for part in Path(to).parts), default=0)


def _check_repo(to: str) -> None:
    name = repo(to)
    got = f"got {format_value(to)}"
    if "@" in name:
        raise ValueError(f"{_EXPECTED}, without a revision; {got}; remove {format_value('@' + name.partition('@')[2])}")
    from huggingface_hub.errors import HFValidationError  # a slow import
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        name = ""
    if name.count("/") != 1:
        raise ValueError(f"{_EXPECTED}; {got}; write the owner and the name of the data set")

"""Saves a backbone with its head: as a folder, a zip file, a repository on the Hub, or an entry of the running page."""

import glob
import os
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lineup.analysis.training import TrainedBackbone, TrainingReport
from lineup.config import Config, Entry
from lineup.errors import LineupError, writing_errors
from lineup.features.training import card
from lineup.hub.cache_folder import cache_folder
from lineup.images.labelled_folder import folder_name

if TYPE_CHECKING:
    from lineup.analysis.heads import Head
    from lineup.inference.pinned_backbone import PinnedBackbone
    from lineup.registry import Plan

KEEP_DAYS = 7
MAX_ARCHIVES = 4  # each has the weights, and a request for another name creates one
MAX_SAVE_S = 3600  # no save takes so long
_MAX_NAME_BYTES = 200  # 255 in most file systems, and the draft has a longer name
_REMEDY = "choose another place, or free some space"


def require_savable(plan: "Plan") -> None:
    """Check that a backbone can be saved with another head.

    Raises:
        BackboneError: when it is none of timm.
    """
    from lineup.registry import trained_folder  # imports torch

    trained_folder.require_savable(plan)


def require_new(folder: Path) -> None:
    """Check that a folder can be created.

    Raises:
        LineupError: when there is one, its name is none for a config, or its parent is missing or cannot be written.
    """
    parent = folder.resolve().parent
    if len(os.fsencode(folder.name)) > _MAX_NAME_BYTES:
        got = f"got a name of {len(os.fsencode(folder.name))} bytes"
        raise LineupError("folder", f"a name of at most {_MAX_NAME_BYTES} bytes", got, "choose a shorter one")
    if folder.exists() or folder.is_symlink():
        raise LineupError(str(folder), "a new folder", "there is one", "choose another name, or remove it")
    if (name := folder.name) == ".." or name != name.strip() or not name.isprintable() or "\\" in name:
        expected = "a name that config.yaml can have: printable, without surrounding spaces or backslashes"
        raise LineupError("folder", expected, f"got {name[:60]!r}", "choose another one")
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        got = "it cannot be written" if parent.is_dir() else "there is no such folder"
        raise LineupError(str(folder), f"a place in {parent}", got, "choose another one")


def save(folder: Path, backbone: "PinnedBackbone", head: "Head", report: TrainingReport, entry: Entry) -> None:
    """Save a backbone with its head to a new folder, which appears whole or not at all.

    Raises:
        LineupError: when the folder exists, the disk is full, or the weights are not here.
    """
    from lineup.registry import trained_folder

    if backbone.plan.remote:  # it has no weights file here: the folder would have none
        got, remedy = "another process computes it", "save it where it is computed"
        raise LineupError(backbone.name, "a backbone whose weights are on this machine", got, remedy)
    trained, entry = next(each for each in report.backbones if each.name == backbone.name), _public(entry)
    require_new(folder)
    draft = folder.resolve().with_name(f".{folder.name}.{secrets.token_hex(8)}.partial")
    for left in draft.parent.glob(f".{glob.escape(folder.name)}.{'?' * 16}.partial"):
        if time.time() - left.stat().st_mtime > MAX_SAVE_S:  # the process was killed
            shutil.rmtree(left, ignore_errors=True)
    try:
        with writing_errors(str(folder), "a folder to save to", _REMEDY):
            details = {
                "description": card.sentence(trained, report),
                "trained": _origin(trained, report, entry, backbone),
            }
            layer = head.weight, head.bias
            is_plain = trained_folder.write(draft, backbone.plan, backbone.path, layer, report.classes, details)
            text = card.text(trained, report, entry, backbone.plan, folder.name, is_plain)
            (draft / "README.md").write_text(text, encoding="utf-8")
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def python(name: str, backbone: "PinnedBackbone", head: "Head", report: TrainingReport) -> str:
    """Return the Python of the model card in a folder `name` that `save` writes; nothing is written for it."""
    from lineup.registry import trained_folder

    is_plain = trained_folder.is_plain(backbone.plan, backbone.path, (head.weight, head.bias), report.classes)
    return card.code(backbone.plan, name, is_plain).rstrip()


def _public(entry: Entry) -> Entry:
    """Return an entry without the folders of this machine, for those who get what is saved."""
    update = dict[str, str]()
    for key in ("backbone", "checkpoint", "labels"):
        source, colon, path = str(getattr(entry, key) or "").rpartition("local-dir:")
        if Path(path).is_absolute():
            update[key] = f"{source}{colon}{Path(path).name}"
    return entry.model_copy(update=update)


def _origin(
    trained: TrainedBackbone, report: TrainingReport, entry: Entry, backbone: "PinnedBackbone"
) -> dict[str, Any]:
    """Return what config.json says of the training."""
    truth = report.truth[report.is_fitted]
    return {
        "backbone": entry.model_dump(mode="json", exclude_defaults=True),
        "weights": str(backbone.plan.weights or "random"),
        "method": trained.method,
        "C": trained.regularization,
        "temperature": trained.temperature,
        "images": {name: int((truth == index).sum()) for index, name in enumerate(report.classes)},
        "accuracy": trained.accuracy.to_json(),
        "held_out": trained.held_out and trained.held_out.to_json(),
    }


def archive(path: Path, name: str, save_to: Callable[[Path], None]) -> Path:
    """Return a zip file of a folder `name`, which `save_to` saves; the last MAX_ARCHIVES beside it are kept."""
    if not path.is_file():
        draft = path.with_name(f"{path.stem}-{secrets.token_hex(8)}")
        draft.mkdir()
        try:
            save_to(draft / name)
            with (
                writing_errors(path.name, "a zip file", "free some space"),
                zipfile.ZipFile(draft / path.name, "w") as file,  # weights do not get smaller
            ):
                for each in sorted((draft / name).iterdir()):
                    file.write(each, f"{name}/{each.name}")
            (draft / path.name).replace(path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        with suppress(OSError):  # another request deletes them, too
            for old in sorted(path.parent.glob("*.zip"), key=os.path.getmtime)[:-MAX_ARCHIVES]:
                old.unlink()
    return path


def adding_problem(config: Config) -> LineupError | None:
    """Return why no entry may be added to this page: strangers may do so only with ``training: {public: true}``."""
    if config.training.public or not (config.share or os.environ.get("SPACE_ID")):
        return None
    where, got = config.where("training"), "this page is open to all"
    return LineupError(where, "a page of your own, or `public: true`", got, "download the folder instead")


@contextmanager
def folder_for(name: str) -> Iterator[Path]:
    """Yield a new folder for an entry that is added to the page; nothing is left of it if that fails.

    Raises:
        LineupError: when the name is empty, or the disk is full.
    """
    parent = cache_folder("classifiers") / secrets.token_urlsafe(8)
    folder = parent / folder_name(name)
    with writing_errors("training", "a folder to save to", "free some space"):
        parent.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(parent, ignore_errors=True)
        raise


def entry_of(name: str, backbone: str) -> Entry:
    """Return an entry of the line-up.

    Raises:
        LineupError: when the name is none.
    """
    try:
        return Entry.model_validate({"name": name, "backbone": backbone})
    except ValidationError:
        expected = "1 to 200 printable characters without surrounding spaces"
        raise LineupError("name", expected, f"got {name[:60]!r}", "choose another one") from None


def delete_old(used: Collection[str]) -> None:
    """Delete the folders of entries that were added, once KEEP_DAYS have passed since any process had them.

    Args:
        used: the backbones of this process's entries.
    """
    top = cache_folder("classifiers")
    for parent in top.iterdir() if top.is_dir() else ():
        with suppress(OSError):
            if any(f"local-dir:{folder}" in used for folder in parent.iterdir()):
                os.utime(parent)
            elif time.time() - parent.stat().st_mtime > KEEP_DAYS * 24 * 3600:
                shutil.rmtree(parent, ignore_errors=True)


def require_repository(repo: str) -> None:
    """Check the name of a repository, and that there is a token to push to it.

    Raises:
        LineupError: when it is none, or there is none.
    """
    from huggingface_hub import get_token

    from lineup.hub.problems import TOKENS  # imports the Hub's client

    # the Hub's rule (huggingface_hub, `validate_repo_id`): ASCII letters, digits, "_", "-" and ".", not ".." nor "--"
    part = r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?"
    if not re.fullmatch(rf"(?!.*(\.\.|--)){part}/{part}", repo):
        raise LineupError("--push", "owner/name, such as me/my-birds", f"got {repo!r}", "fix the argument")
    if not get_token():
        remedy = f"create one with write access at {TOKENS}, and set HF_TOKEN to it"
        raise LineupError("--push", "a token of the Hub", "there is none", remedy)


def push(folder: Path, repo: str, private: bool) -> str:
    """Push a saved folder to a model repository, which is created if necessary, and return its URL."""
    from lineup.hub import uploads  # imports the Hub's client

    files = {path.name: path for path in sorted(folder.iterdir())}
    return uploads.publish_model(repo, files, "Add a classifier that Lineup has trained", private)

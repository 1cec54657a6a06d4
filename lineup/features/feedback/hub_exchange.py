"""One exchange between a collection and its data set on the Hub, which other replicas and their owners change, too.

What has to be done follows from the two states alone, so that a killed process leaves nothing undone: a decision is
carried out in the data set if its line is missing there.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from lineup.features.feedback import accepted, records, scan
from lineup.features.feedback.collection import delete_image
from lineup.hub import atomic_write, changed_files, datasets, uploads
from lineup.hub.changed_files import ChangedFiles
from lineup.images import labelled_folder

_log = logging.getLogger(__name__)

MAX_DOWNLOADS = 500  # images of one exchange
MAX_IMAGE_BYTES = 50 * 10**6
READ_TIMEOUT_S = 30.0
_THREADS = 8  # small files wait for the server most of the time
_METADATA = f"{records.ACCEPTED}/{records.METADATA}"
_IMAGE = re.compile(rf"({records.UNREVIEWED}|{records.ACCEPTED})/(?!\.)([^/\0]+)/({records.IMAGE_ID.pattern})\.jpg")
_ANSWERS = re.compile(rf"{records.UNREVIEWED}/answers-[\w.-]+\.jsonl")


class Exchange:
    """An exchange with the data set at one commit.

    Args:
        root: the collection's folder.
        files: which of its files are pushed elsewhere; is kept up to date.
        head: the data set's newest commit.
        keep_s: how long unreviewed images are kept.
        now_s: the time.

    Raises:
        HubError: when its lines cannot be read; other methods raise it, too.
    """

    def __init__(self, root: Path, files: ChangedFiles, head: datasets.Head, keep_s: float, now_s: float) -> None:
        self._root, self._files, self._head = root, files, head
        self._oldest_s = now_s - keep_s
        self._names, self._parent = set(head.sizes), head.commit
        self._theirs = {name: self._read_lines(name) for name in (records.REVIEWS, records.ANSWERS)}

    def take_decisions(self) -> None:
        """Take over what other replicas decided; afterwards our lines include theirs."""
        with self._locked():
            new = dict[str, list[bytes]]()
            for name, lines in self._theirs.items():
                ours = set(_lines_of(self._root / name))
                new[name] = [line for line in dict.fromkeys(lines) if line not in ours and _is_object(line)]
            times = {id_: time_s for id_, _, _, time_s in _decisions(new[records.REVIEWS])}
            for path, image in self._unreviewed():
                if image in times and _modified_s(path) < times[image]:  # it was not uploaded again since
                    delete_image(path)
            for name, lines in new.items():
                if lines:
                    records.append(self._root / name, lines)

    def take_answers(self, everything: bool) -> None:
        """Take over longer files of answers, new ones if `everything`; ours that are as long need not be pushed."""
        for name in sorted(self._names):
            if _ANSWERS.fullmatch(name):
                ours, theirs = _size(self._root / name), self._head.sizes.get(name, 0)
                if theirs > ours and (ours or everything):
                    self._take_answers(name)
                elif theirs == ours:
                    self._files.mark_sent([name])

    def _take_answers(self, name: str) -> None:
        path, body = self._root / name, self._read(name)
        times = [str(row.get("time")) for line in _split(body) if (row := _object(line))]
        time_s = max(filter(None, map(_seconds, times)), default=0.0)
        if time_s < self._oldest_s:
            return
        with self._locked():
            if len(body) > _size(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic_write.write_bytes(path, body)
                os.utime(path, (time_s, time_s))
                self._files.mark_sent([name])

    def give_decisions(self, gone: Set[str]) -> None:
        """Commit what the data set lacks of our decisions: accepted images, what they replace, and the lines.

        Args:
            gone: paths of unreviewed images that were deleted here.

        Raises:
            ConflictError: when there is a newer commit.
        """
        missing = {name: self._missing(name) for name in self._theirs}
        undone = {id_ for id_, *_ in _decisions(missing[records.REVIEWS])}
        targets = {id_: path for id_, path in self._targets().items() if id_ in undone}
        added, deleted = list[str](), list[str]()
        for target in targets.values():
            label_file = f"{target.rpartition('/')[0]}/{labelled_folder.LABEL_FILE}"
            added += [each for each in (target, label_file) if (self._root / each).is_file()]
        for name in self._names:
            if match := _IMAGE.fullmatch(name):
                kind, _, id_ = match.groups()
                if kind == records.UNREVIEWED:
                    leaves = (name in gone or id_ in undone) and not (self._root / name).exists()
                else:
                    leaves = targets.get(id_, name) != name
                deleted += [name] if leaves else []
        deleted += [name for name in self._files.gone(self._oldest_s) & self._names if _ANSWERS.fullmatch(name)]
        deleted += self._empty_folders(deleted)
        self._commit(sorted(set(added) - self._names), sorted(deleted), missing)

    def _empty_folders(self, deleted: Sequence[str]) -> list[str]:
        """Return the label files of folders of unreviewed images that lose their last image."""
        folders = {name.rpartition("/")[0] for name in deleted if name.startswith(f"{records.UNREVIEWED}/")}
        remaining = {name.rpartition("/")[0] for name in self._names.difference(deleted) if _IMAGE.fullmatch(name)}
        files = {f"{folder}/{labelled_folder.LABEL_FILE}" for folder in folders - remaining}
        return [name for name in files & self._names if not (self._root / name).exists()]

    def _commit(self, added: Sequence[str], deleted: Sequence[str], missing: Mapping[str, list[bytes]]) -> None:
        """Commit in parts of a bounded size: the lines, by which all of it is known to be done, with the last one."""
        lines = {name: b"".join([*self._theirs[name], *lines]) for name, lines in missing.items() if lines}
        if not (added or deleted or lines):
            return
        parts, deleted = list(self._files.batches(added)) or [[]], list(deleted)
        while parts:
            part = parts.pop(0)
            room = 0 if parts else changed_files.MAX_FILES - len(part)  # files are added before others are deleted
            leaving, deleted = deleted[:room], deleted[room:]
            if deleted and not parts:
                parts.append([])
            with self._files.sending(part) as contents:
                names = (self._names | contents.keys()) - set(leaving)
                files = {**contents, **({} if parts else lines)}
                if any(name.startswith(f"{records.ACCEPTED}/") for name in (*contents, *leaving)):
                    files[_METADATA] = self._metadata(names)
                message = f"Review {len(part) + len(leaving)} files"
                self._parent = uploads.commit(
                    self._head.repo, "dataset", message, files, leaving, self._parent, command="try"
                )
            self._names = names

    def download(self) -> bool:
        """Download images that are missing here, unreviewed ones first; return whether there are more of them."""
        n_decisions = _size(self._root / records.REVIEWS)
        targets = self._targets()
        names = [name for name in sorted(self._names, reverse=True) if self._is_missing(name, targets)]
        part, first_answers = names[:MAX_DOWNLOADS], self._first_answers()
        labels = self._labels(part)
        with ThreadPoolExecutor(_THREADS, "download") as threads:
            bodies = dict(zip(part, threads.map(self._read, part), strict=True))
        with self._locked():
            since = _lines_of(self._root / records.REVIEWS, n_decisions)  # the owner went on in the meantime
            decided, present = {id_ for id_, *_ in _decisions(since)}, accepted.files(self._root)
            for name, body in bodies.items():
                kind, folder, id_ = self._parts(name)
                if id_ in decided or (self._root / name).exists():
                    continue
                label = labels.get(f"{kind}/{folder}") or labelled_folder.label_of(self._root / kind / folder)
                if hashlib.sha256(body).hexdigest()[:16] != id_ or labelled_folder.folder_name(label) != folder:
                    _log.warning("%s: %s is left out: it is not what its name says", self._head.repo, name)
                elif kind == records.ACCEPTED:
                    accepted.put(self._root, id_, label, body, present)
                else:
                    path = labelled_folder.write_encoded(self._root / kind, label, body, f"{id_}.jpg")
                    if time_s := first_answers.get(id_):
                        os.utime(path, (time_s, time_s))
            if any(name.startswith(records.ACCEPTED) for name in bodies):
                accepted.write_metadata(self._root / records.ACCEPTED)
        self.mark_sent()
        return len(names) > len(part)

    def mark_sent(self) -> None:
        """Take the unreviewed images that both sides have for pushed: their names are hashes of their contents."""
        self._files.mark_sent(name for name in self._names if _IMAGE.fullmatch(name))

    # --- the data set ---

    def _read(self, name: str) -> bytes:
        return datasets.read(self._head, name, READ_TIMEOUT_S)

    def _read_lines(self, name: str) -> list[bytes]:
        return _split(self._read(name)) if name in self._names else []

    def _is_missing(self, name: str, targets: Mapping[str, str]) -> bool:
        if not (match := _IMAGE.fullmatch(name)) or self._head.sizes.get(name, 0) > MAX_IMAGE_BYTES:
            return False
        is_former = match[1] == records.ACCEPTED and targets.get(match[3], name) != name
        return not is_former and not (self._root / name).exists()

    def _labels(self, names: Iterable[str]) -> dict[str, str]:
        """Return the labels of the folders of images, as far as a folder's name is too short for its label."""
        folders = {name.rpartition("/")[0] for name in names}
        files = {folder: f"{folder}/{labelled_folder.LABEL_FILE}" for folder in folders}
        return {
            folder: self._read(name).decode(errors="replace")
            for folder, name in files.items()
            if name in self._names and self._head.sizes.get(name, 0) <= records.MAX_LINE_BYTES
        }

    def _metadata(self, names: Iterable[str]) -> bytes:
        """Return the metadata of accepted images: of all replicas, while ours may have a part of them."""
        known = dict[str, str]()
        for row in map(_object, self._read_lines(_METADATA)):
            if row and isinstance(row.get("label"), str):
                known[str(row.get("file_name"))] = row["label"]
        lines = list[bytes]()
        for name in sorted(names):
            kind, folder, _ = self._parts(name)
            if kind == records.ACCEPTED:
                file_name = name.removeprefix(f"{kind}/")
                label = known.get(file_name) or labelled_folder.label_of(self._root / kind / folder)
                lines.append(records.to_line({"file_name": file_name, "label": label}))
        return b"".join(lines)

    @staticmethod
    def _parts(name: str) -> tuple[str, str, str]:
        match = _IMAGE.fullmatch(name)
        return (match[1], match[2], match[3]) if match else ("", "", "")

    # --- the collection ---

    def _locked(self) -> Any:
        return accepted.locked(self._root)

    def _missing(self, name: str) -> list[bytes]:
        theirs = set(self._theirs[name])
        return [line for line in dict.fromkeys(_lines_of(self._root / name)) if line not in theirs]

    def _targets(self) -> dict[str, str]:
        """Return where each accepted image belongs by the last decision to accept it, whoever's."""
        last = dict[str, tuple[float, str]]()
        for id_, decision, label, time_s in _decisions(_lines_of(self._root / records.REVIEWS)):
            if decision == "accepted" and label:
                last[id_] = max(last.get(id_, (0.0, "")), (time_s, label))
        return {
            id_: f"{records.ACCEPTED}/{labelled_folder.folder_name(label)}/{id_}.jpg"
            for id_, (_, label) in last.items()
        }

    def _unreviewed(self) -> Iterator[tuple[Path, str]]:
        for folder, names in scan.images_by_folder(self._root / records.UNREVIEWED):
            for name in names:
                yield folder / name, name[:16]

    def _first_answers(self) -> dict[str, float]:
        times = dict[str, float]()
        for row in scan.read_answers(self._root, reviewed=True):  # in the order of their times
            times.setdefault(row.image, _seconds(row.time))
        return times


def _decisions(lines: Iterable[bytes]) -> Iterator[tuple[str, str, str, float]]:
    """Yield the decisions of lines: the image's id, the decision, the label, and the time."""
    for row in map(_object, lines):
        id_, label = (row.get("id"), row.get("label")) if row else (None, None)
        if row and isinstance(id_, str) and records.IMAGE_ID.fullmatch(id_):
            yield id_, str(row.get("decision")), label if isinstance(label, str) else "", _seconds(row.get("time"))


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_object(line: bytes) -> bool:
    return _object(line) is not None


def _lines_of(path: Path, start: int = 0) -> list[bytes]:
    """Return the complete lines of a file, from a position on; none of a link or a missing file."""
    if path.is_symlink() or not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(start)
        return _split(file.read())


def _split(body: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in body.split(b"\n")[:-1]]
    return [line for line in lines if 1 < len(line) <= records.MAX_LINE_BYTES]


def _seconds(time: object) -> float:
    """Return a time in ISO 8601 as seconds since 1970; 0 if it is none."""
    try:
        return datetime.fromisoformat(str(time)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() and not path.is_symlink() else 0


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")

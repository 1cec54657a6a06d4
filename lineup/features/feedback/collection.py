"""Keeps images with the labels that users gave them, until the owner reviews them."""

import hashlib
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from PIL import Image

from lineup.config import Feedback
from lineup.errors import LineupError, writing_errors
from lineup.features.feedback import image_files, records
from lineup.features.feedback.labels import normalized_class, normalized_label
from lineup.features.feedback.limits import DAY_S, Limits
from lineup.features.feedback.records import AnswerRow, Receipt, Said
from lineup.images import labelled_folder

MIN_FREE_BYTES = 200 * 10**6  # of the disk, which the server needs for more than this
_MAX_KNOWN = 10_000  # images whose folders are remembered


class Collection:
    """The folder of feedback: images by label in ``unreviewed/``, and beside them the answers. Thread-safe.

    Several processes may write to one folder: each has a file of answers of its own, a new one each day. Nothing is
    created before the first answer.

    Attributes:
        root: the folder.
        settings: the section `feedback` of the config.
        clock: returns the time, in seconds since 1970.
        on_added: called after each answer is kept; must return at once.
        is_class: whether a label is a class of a backbone, which may be longer than free text.
    """

    def __init__(self, root: Path, settings: Feedback, clock: Callable[[], float] = time.time) -> None:
        self.root, self.settings, self.clock = root, settings, clock
        self.on_added: Callable[[], None] = lambda: None
        self.is_class: Callable[[str], bool] = lambda label: False
        self._limits = Limits(settings.per_visitor, settings.per_day, self._count_of_day)
        self._lock = threading.Lock()
        self._answers = _AnswersFile(root / records.UNREVIEWED)
        self._known = dict[str, Path]()  # image id → its file

    def label(self, given: object, classes: Sequence[str] = ()) -> str:
        """Return a label in its normal form.

        Args:
            given: a class of a backbone, or free text.
            classes: further names of classes.

        Raises:
            LineupError: when it cannot be one; classes of backbones may have any length.
        """
        if isinstance(given, str) and (name := normalized_class(given)) and (name in classes or self.is_class(name)):
            return name
        return normalized_label(given)

    def add(self, image: Image.Image, given: str, said: Sequence[Said], visitor: str) -> Receipt:
        """Keep an image with the label given; the same image again is one image with two answers.

        Args:
            image: as it was decoded; it is encoded again, without metadata.
            given: the label: a class, or free text.
            said: what the backbones said of it.
            visitor: tells users apart, such as an address; it is not kept.

        Raises:
            BusyError: when the user, or all users, have given too many answers today.
            LineupError: when the label cannot be one, or the disk does not take it. Then nothing is kept.
        """
        said = tuple(replace(each, label=normalized_class(each.label)) for each in said)
        label, now_s = self.label(given, [each.label for each in said]), self.clock()
        self._limits.take(visitor, now_s)
        try:
            body = labelled_folder.encode(image)
            name = hashlib.sha256(body).hexdigest()[:16]
            is_right = bool(said) and all(each.label == label for each in said)
            row = AnswerRow(name, label, said, records.timestamp(now_s), is_right)
            line = row.to_line()
            if len(line) > records.MAX_LINE_BYTES:
                raise LineupError("feedback", "answers of 64 kB", f"got {len(line)} bytes", "compare fewer backbones")
            with self._lock, writing_errors("feedback", "a folder for images", "try again later: nothing was kept"):
                is_new = self._keep(name, label, body, line, now_s)
        except BaseException:
            self._limits.give_back(visitor, now_s)
            raise
        self.on_added()
        return Receipt(name, label, is_new)

    def _keep(self, name: str, label: str, body: bytes, line: bytes, now_s: float) -> bool:
        """Write the image unless it is there, and the answer; return whether it was not there."""
        folder = self.root / records.UNREVIEWED
        path = self._known.get(name) or folder / labelled_folder.folder_name(label) / f"{name}.jpg"
        if is_new := not image_files.is_whole(path, len(body)):
            self._require_space()
            path = image_files.write(folder, label, body, name)
        try:
            self._answers.append(line, now_s)
        except OSError:
            if is_new:
                image_files.delete([path])
            raise
        if not image_files.is_whole(path, len(body)):  # reviewed or deleted by another process in the meantime
            path = image_files.write(folder, label, body, name)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[name] = path
        return is_new

    def _count_of_day(self, time_s: float) -> int:
        """Return how many answers of a day were given before this process counted: the limit survives a restart."""
        start, count = f"answers-{records.timestamp(time_s)[:10].replace('-', '')}T", 0
        with suppress(OSError):
            for path in records.answers_files(self.root / records.UNREVIEWED):
                count += path.read_bytes().count(b"\n") if path.name.startswith(start) else 0
        return count

    def _require_space(self) -> None:
        folder = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
            raise LineupError("feedback", "free space on the disk", "it is full", "try again later: nothing was kept")


class _AnswersFile:
    """The answers that this process writes: a file for each day, which no other process writes to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._day, self._pid, self._path = 0, 0, Path()

    def append(self, line: bytes, now_s: float) -> None:
        """Append a line, and wait until it is on the disk.

        Raises:
            OSError: when it cannot be written.
        """
        day, pid = int(now_s // DAY_S), os.getpid()
        if (day, pid) != (self._day, self._pid):  # the process may have been forked
            start = re.sub(r"[-:]|\+.*", "", records.timestamp(now_s))
            host = re.sub(r"[^A-Za-z0-9.-]", "", socket.gethostname())[:60]
            # containers may have equal hosts and pids, and start at the same moment
            self._path = self._folder / f"answers-{start}Z-{host}-{pid}-{secrets.token_hex(4)}.jsonl"
            self._day, self._pid = day, pid
        self._folder.mkdir(parents=True, exist_ok=True)
        records.append(self._path, [line])

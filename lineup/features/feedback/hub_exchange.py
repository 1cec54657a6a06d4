"""One exchange between a collection and its data set on the Hub, which other replicas and their owners change, too.

What has to be done follows from the two states alone, so that a killed process leaves nothing undone: a decision is
carried out in the data set if its line is missing there.
"""

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

from lineup.errors import writing_errors
from lineup.features.feedback import accepted, exchanged_lines, image_files, records
from lineup.features.feedback.remote import Remote, image_parts, is_answers
from lineup.hub import atomic_write, changed_files
from lineup.hub.changed_files import ChangedFiles
from lineup.images import labelled_folder


class Exchange:
    """An exchange with the data set at one commit.

    Args:
        root: the collection's folder.
        files: which of its files are pushed elsewhere; is kept up to date.
        remote: the data set at its newest commit.
        keep_s: how long unreviewed images are kept.
        now_s: the time.

    Raises:
        HubError: when its lines cannot be read; other methods raise it, too.
    """

    def __init__(self, root: Path, files: ChangedFiles, remote: Remote, keep_s: float, now_s: float) -> None:
        self._root, self._files, self._remote = root, files, remote
        self._now_s, self._oldest_s = now_s, now_s - keep_s
        self._theirs = {name: remote.lines(name) for name in (records.REVIEWS, records.ANSWERS)}

    def take_decisions(self) -> None:
        """Take over what other replicas decided; afterwards our lines include theirs."""
        with self._locked():
            new = dict[str, list[bytes]]()
            for name, lines in self._theirs.items():
                ours = set(exchanged_lines.lines_of(self._root / name))
                unknown = [line for line in dict.fromkeys(lines) if line not in ours]
                new[name] = [line for line in unknown if exchanged_lines.parsed(line) is not None]
            times = dict[str, float]()
            for id_, _, _, time_s in exchanged_lines.decisions(new[records.REVIEWS]):  # in any order
                times[id_] = max(time_s, times.get(id_, 0.0))
            reviewed = [
                path for path, image in self._unreviewed() if image in times and _modified_s(path) < times[image]
            ]
            image_files.delete(reviewed)  # others were uploaded again since
            for name, lines in new.items():
                if lines:
                    records.append(self._root / name, lines)

    def take_answers(self, everything: bool) -> None:
        """Take over longer files of answers, new ones if `everything`; ours that are as long need not be pushed."""
        expired = self._files.gone(self._oldest_s)  # deleted here, and to be deleted there
        for name in sorted(self._remote.names):
            if is_answers(name):
                ours, theirs = _size(self._root / name), self._remote.sizes.get(name, 0)
                if theirs > ours and (ours or (everything and name not in expired)):
                    self._take_answers(name)
                elif theirs == ours:
                    self._files.mark_sent([name])

    def _take_answers(self, name: str) -> None:
        path, body = self._root / name, self._remote.read(name)
        times = [str(row.get("time")) for line in exchanged_lines.split(body) if (row := exchanged_lines.parsed(line))]
        time_s = min(max(filter(None, map(exchanged_lines.seconds, times)), default=0.0), self._now_s)
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
        undone = {id_ for id_, *_ in exchanged_lines.decisions(missing[records.REVIEWS])}
        ours = exchanged_lines.lines_of(self._root / records.REVIEWS)
        targets = {id_: path for id_, path in exchanged_lines.targets(ours).items() if id_ in undone}
        added, deleted = list[str](), list[str]()
        for target in targets.values():
            label_file = f"{target.rpartition('/')[0]}/{labelled_folder.LABEL_FILE}"
            added += [each for each in (target, label_file) if (self._root / each).is_file()]
        for name in self._remote.names:
            if parts := image_parts(name):
                kind, _, id_ = parts
                if kind == records.UNREVIEWED:
                    leaves = (name in gone or id_ in undone) and not (self._root / name).exists()
                else:
                    leaves = targets.get(id_, name) != name
                deleted += [name] if leaves else []
        deleted += [name for name in self._files.gone(self._oldest_s) & self._remote.names if is_answers(name)]
        deleted += [name for name in self._remote.empty_folders(deleted) if not (self._root / name).exists()]
        self._commit(sorted(set(added) - self._remote.names), sorted(deleted), missing)

    def _commit(self, added: Sequence[str], deleted: Sequence[str], missing: Mapping[str, list[bytes]]) -> None:
        """Commit in parts of a bounded size: the lines, by which all of it is known to be done, with the last one."""
        lines = {name: b"".join([*self._theirs[name], *lines]) for name, lines in missing.items() if lines}
        if not (added or deleted or lines):
            return
        parts = list(self._files.batches(added)) or [[]]
        while parts:
            part = parts.pop(0)
            room = 0 if parts else changed_files.MAX_FILES - len(part)  # files are added before others are deleted
            leaving, deleted = deleted[:room], deleted[room:]
            if deleted and not parts:
                parts.append([])
            with self._files.sending(part) as contents:
                self._remote.commit({**contents, **({} if parts else lines)}, leaving, self._root)

    def mark_sent(self) -> None:
        """Take the unreviewed images that both sides have for pushed: their names are hashes of their contents."""
        self._files.mark_sent(name for name in self._remote.names if image_parts(name))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with accepted.locked(self._root), writing_errors(str(self._root), "a folder", "check it and the disk"):
            yield

    def _missing(self, name: str) -> list[bytes]:
        theirs = set(self._theirs[name])
        return [line for line in dict.fromkeys(exchanged_lines.lines_of(self._root / name)) if line not in theirs]

    def _unreviewed(self) -> Iterator[tuple[Path, str]]:
        for folder, names in image_files.by_folder(self._root / records.UNREVIEWED):
            for name in names:
                yield folder / name, name[:16]


def _size(path: Path) -> int:
    return path.stat().st_size if records.is_regular_file(path) else 0


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")

"""Reviews what users gave: the owner accepts images, changes their labels, or rejects them."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeGuard

from lineup.analysis.corrections import CorrectionRate, correction_rates
from lineup.errors import ImageError, LineupError, writing_errors
from lineup.features.feedback import accepted, image_files, records, retention
from lineup.features.feedback.collection import Collection
from lineup.features.feedback.labels import normalized_class
from lineup.features.feedback.records import AnswerRow, Decision, Move
from lineup.images import labelled_folder
from lineup.images.reading import check_header

BATCH = 1000  # images that are reviewed under one lock, and in one commit


class Copy(Protocol):
    """The copy of a collection on the Hub, as far as a review and the command line need it."""

    @property
    def problem(self) -> str:
        """Return why something was not sent, or an empty string."""

    @property
    def n_unsent(self) -> int:
        """Return how many files are not sent yet."""

    def pull(self, timeout_s: float) -> object:
        """Get what other replicas have kept."""

    def server_time(self) -> float | None:
        """Return the time by the Hub's clock; None if it is unknown."""

    def apply(self, moves: Sequence[Move]) -> None:
        """Take over what became of unreviewed images."""

    def stop(self, timeout_s: float) -> None:
        """Send what is not sent yet, and end."""


@dataclass(frozen=True)
class PendingImage:
    """An unreviewed image.

    Attributes:
        id: of the image.
        label: given most often; empty if it has no valid one.
        labels: each label given, with its number of answers, the most frequent first.
        answers: in the order of their times.
        path: its file.
        is_disputed: whether a backbone said something else than a user.
        copies: all files of the image: two processes may have written it with two labels.
    """

    id: str
    label: str
    labels: tuple[tuple[str, int], ...]
    answers: tuple[AnswerRow, ...]
    path: Path
    is_disputed: bool
    copies: tuple[Path, ...]


@dataclass(frozen=True)
class Stats:
    """What the answers tell; those to rejected images do not count.

    Attributes:
        n_pending: images that are not reviewed.
        n_disputed: those of them on which a backbone and a user disagree.
        n_accepted: images in the accepted folder.
        n_rejected: images whose last decision is to reject them.
        n_answers: answers of users.
        rates: how often each backbone was corrected, in all (without a label) and for each class that it said.
    """

    n_pending: int
    n_disputed: int
    n_accepted: int
    n_rejected: int
    n_answers: int
    rates: tuple[CorrectionRate, ...]


class Review:
    """The owner's decisions on a collection. Several processes may review it: a lock keeps them apart."""

    def __init__(self, collection: Collection, hub_copy: Copy | None = None) -> None:
        self._collection, self._root, self._hub_copy = collection, collection.root, hub_copy
        self._clock_check = retention.ClockCheck(self._root / records.UNREVIEWED, self._server_time)
        self._reviewed = records.KeysReader(self._root / records.ANSWERS)
        self._paths = dict[str, Path]()  # of unreviewed images, as they were listed last

    def pending(self) -> list[PendingImage]:
        """Return the unreviewed images: first those on which backbones and users disagree, then by time."""
        return self._pending_of(self._answers())

    def ids(self) -> set[str]:
        """Return the ids of the unreviewed images, without reading the answers."""
        return set(self._unreviewed())

    def _pending_of(self, rows: Sequence[AnswerRow]) -> list[PendingImage]:
        answers, done = dict[str, list[AnswerRow]](), self._reviewed_keys()
        for row in rows:
            if row.key not in done:
                answers.setdefault(row.image, []).append(row)
        files = self._unreviewed()
        self._paths = {name: paths[0] for name, paths in files.items()}
        found = [_pending(name, paths, answers.get(name, ())) for name, paths in files.items()]
        return sorted(found, key=lambda each: (not each.is_disputed, [row.time for row in each.answers[:1]], each.id))

    def image(self, image_id: str) -> Path:
        """Return the file of an unreviewed image.

        Raises:
            LineupError: when there is none of this id.
        """
        if isinstance(image_id, str) and records.IMAGE_ID.fullmatch(image_id):
            if not _is_there(self._paths.get(image_id)):
                self._paths = {name: paths[0] for name, paths in self._unreviewed().items()}
            if _is_there(path := self._paths.get(image_id)):
                return path
        raise _unknown(image_id)

    def accept(self, ids: Sequence[str], label: str | None = None) -> int:
        """Accept images with the label given most often, or with another one, and return how many.

        Raises:
            LineupError: when one is unknown, before anything is changed; or when files cannot be written, or are not
                what was uploaded: what was done until then stays, and the rest is unreviewed.
        """
        return self._decide(ids, "accepted", label)

    def reject(self, ids: Sequence[str]) -> int:
        """Delete images; their answers stay in the file of answers. Return how many.

        Raises:
            LineupError: as `accept` does.
        """
        return self._decide(ids, "rejected", None)

    def stats(self) -> Stats:
        """Return what the answers tell."""
        rows = self._answers(self._root / records.ANSWERS)  # of all images: reading them takes longest
        pending, last = self._pending_of(rows), self._last_decisions()
        rejected = {name for name, decision in last.items() if decision == "rejected"} - {each.id for each in pending}
        rows = [row for row in rows if row.image not in rejected]
        judged = ((said.backbone, said.label, said.label != row.given) for row in rows for said in row.said)
        return Stats(
            n_pending=len(pending),
            n_disputed=sum(each.is_disputed for each in pending),
            n_accepted=len(image_files.by_id(self._root / records.ACCEPTED)),
            n_rejected=len(rejected),
            n_answers=len(rows),
            rates=tuple(correction_rates(judged)),
        )

    def export(self, folder: Path) -> int:
        """Copy the accepted images as a folder that `load_dataset("imagefolder")` and torchvision read.

        Raises:
            LineupError: when there are none, or the folder is not new, or cannot be written.
        """
        return accepted.export(self._root, folder)

    def delete_old(self) -> int:
        """Delete unreviewed images, and files of answers, that are older than `keep_days`; return how many images.

        Nothing is deleted while the clock is not to be trusted: see `retention.ClockCheck`.

        Raises:
            LineupError: when the folder cannot be written.
        """
        if not (self._root / records.UNREVIEWED).is_dir():
            return 0
        now_s, keep_s = self._collection.clock(), self._collection.settings.keep_days * 86_400.0
        with writing_errors(str(self._root), "a folder", "check it and the disk"):
            is_trusted = self._clock_check.is_trusted(now_s)  # before the lock: it may ask the Hub
        with self._writing():
            self._keep_late_answers()
            moves = retention.delete_old(self._root, now_s, keep_s) if is_trusted else []
        self._tell_copy(moves)
        return len(moves)

    def _decide(self, ids: Sequence[str], decision: Decision, label: str | None) -> int:
        pending, count = {each.id: each for each in self.pending()}, 0
        images = list[tuple[PendingImage, str]]()
        for name in dict.fromkeys(ids):
            if (image := pending.get(name) if isinstance(name, str) else None) is None:
                raise _unknown(name)
            images.append((image, self._label_of(image, decision, label)))
        problems = list[LineupError]()
        for start in range(0, len(images), BATCH):
            with self._writing():
                moves = self._decide_batch(images[start : start + BATCH], decision, problems)
            count += len(moves)
            self._tell_copy(moves)
        if problems:
            got = f"{len(problems)} of {len(images)} are not: {problems[0]}"
            remedy = f"reject {'it' if len(problems) == 1 else 'them'}; the others are accepted"
            raise LineupError("feedback", "images as they were uploaded", got, remedy)
        return count

    def _label_of(self, image: PendingImage, decision: Decision, label: str | None) -> str:
        """Return the label that an image is accepted with."""
        if decision != "accepted":
            return ""
        if label is None and not image.label:
            raise LineupError(image.id, "a label", "it has none", "accept it with one")
        classes = [said.label for row in image.answers for said in row.said]
        return image.label if label is None else self._collection.label(label, [*classes, image.label])

    def _decide_batch(
        self, images: Sequence[tuple[PendingImage, str]], decision: Decision, problems: list[LineupError]
    ) -> list[Move]:
        """Write what is decided, and only then delete: a killed process leaves images that are reviewed again."""
        moves, rows = list[Move](), list[AnswerRow]()
        present = image_files.by_id(self._root / records.ACCEPTED) if decision == "accepted" else {}
        for image, label in images:
            if (path := next(filter(_is_there, image.copies), None)) is None:
                continue  # decided by another process in the meantime
            added = ""
            if decision == "accepted":
                try:
                    body = _checked(path, image.id)
                except LineupError as error:
                    problems.append(error)
                    continue
                added = self._below(accepted.put(self._root, image.id, label, body, present))
            moves.append(Move(image.id, decision, label, added, tuple(map(self._below, image.copies))))
            rows += image.answers
        if decision == "accepted" and moves:
            accepted.write_metadata(self._root / records.ACCEPTED)
        now = records.timestamp(self._collection.clock())
        decisions = [{"id": move.image, "decision": decision, "label": move.label, "time": now} for move in moves]
        records.append(self._root / records.ANSWERS, [row.to_line() for row in rows])
        records.append(self._root / records.REVIEWS, [records.to_line(each) for each in decisions])
        image_files.delete(self._root / name for move in moves for name in move.deleted)
        return moves

    def _keep_late_answers(self) -> None:
        """Keep the answers to reviewed images that were given at the moment of the review, or after it."""
        done, reviewed = self._reviewed_keys(), self._last_decisions().keys() - self._unreviewed().keys()
        late = [row for row in self._answers() if row.image in reviewed and row.key not in done]
        records.append(self._root / records.ANSWERS, [row.to_line() for row in late])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with accepted.locked(self._root), writing_errors(str(self._root), "a folder", "check it and the disk"):
            yield

    def _unreviewed(self) -> dict[str, list[Path]]:
        return image_files.by_id(self._root / records.UNREVIEWED)

    def _answers(self, *more: Path) -> list[AnswerRow]:
        """Return the distinct answers in the files beside unreviewed images, and in others."""
        with records.reading_errors(self._root):
            return records.read_answers([*records.answers_files(self._root / records.UNREVIEWED), *more])

    def _below(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _server_time(self) -> float | None:
        return self._hub_copy.server_time() if self._hub_copy else None

    def _tell_copy(self, moves: Sequence[Move]) -> None:
        if self._hub_copy and moves:
            self._hub_copy.apply(moves)

    def _reviewed_keys(self) -> set[str]:
        """Return the keys of the answers to images that were reviewed before; an image may be uploaded again."""
        with records.reading_errors(self._root):
            return self._reviewed.keys()

    def _last_decisions(self) -> dict[str, str]:
        """Return the last decision on each image, by its time: replicas append each other's lines later."""
        with records.reading_errors(self._root):
            lines = list(records.read_lines(self._root / records.REVIEWS))
        found = [
            (str(value.get("time")), str(value.get("id")), str(value.get("decision")))
            for value in lines
            if isinstance(value, dict)
        ]
        return {image: decision for _, image, decision in sorted(found)}


def _pending(name: str, paths: Sequence[Path], rows: Sequence[AnswerRow]) -> PendingImage:
    given = Counter(row.given for row in rows)
    labels = tuple(given.most_common())
    label = labels[0][0] if labels else normalized_class(labelled_folder.label_of(paths[0].parent))
    is_disputed = any(said.label != row.given for row in rows for said in row.said)
    return PendingImage(name, label, labels, tuple(rows), paths[0], is_disputed, tuple(paths))


def _checked(path: Path, image_id: str) -> bytes:
    """Return the content of an image, which others may have uploaded to the data set.

    Raises:
        ImageError: when it is not the image of this id.
    """
    body = path.read_bytes()
    if hashlib.sha256(body).hexdigest()[:16] != image_id:
        raise ImageError(path.name, "the content that its name is the hash of", "it is another", "reject it")
    check_header(path)
    return body


def _is_there(path: Path | None) -> TypeGuard[Path]:
    return path is not None and records.is_regular_file(path)


def _unknown(image_id: object) -> LineupError:
    got = f"got {str(image_id)[:40]!r}"
    return LineupError("image", "the id of an image that is not reviewed", got, "list them: it may be reviewed already")

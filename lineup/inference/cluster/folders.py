"""Computes the images of a folder on a Ray cluster, for an evaluation or a training.

What is computed is written to Parquet files, block by block; a run begins with what is missing there.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lineup.config import Config, Entry
from lineup.errors import INTERNAL_ERROR, BackboneError, ImageError, LineupError
from lineup.images import image_set, labelled_folder, remote_folder, sources
from lineup.images.image_set import EvaluatedImage, ImageSet
from lineup.images.labelled_folder import LabelledFolder, LabelledImage
from lineup.images.remote_folder import Listing
from lineup.images.similarity import Appearance
from lineup.inference.cluster import folder_answers, folder_pass
from lineup.inference.cluster.folder_actor import Task, failure
from lineup.inference.cluster.folder_answers import FolderAnswers, Kind
from lineup.inference.computed_backbone import ComputedBackbone, Described, Outputs
from lineup.inference.jobs import JobStatus, State

if TYPE_CHECKING:
    import pyarrow as pa

    from lineup.registry.plan import OutputKind

_log = logging.getLogger(__name__)


def open_folder(
    source: str, split: str, answers: str, stack: ExitStack, config: Config
) -> "tuple[Listing, FolderAnswers]":
    """List a source, and open the folder with what was computed of it.

    Args:
        source: a folder, an address that pyarrow or fsspec open, or a data set of the Hub, which is downloaded.
        split: of which the images are computed; all if empty.
        answers: the folder for what is computed; in the cache if empty.
        stack: deletes what is downloaded when it is closed.
        config: has the limits.

    Raises:
        LineupError: when one of them cannot be opened, or there is no image.
    """
    is_address = "://" in source and not source.startswith("hf://")
    unpacked = None if is_address else sources.unpack(source, stack, config.limits)
    listing = _hashed(*unpacked) if unpacked else remote_folder.list_files(source)
    chosen = listing.of_split(split)
    if not chosen.files:
        _no_images(listing, split)
    key = source if "://" in source else str(Path(source).expanduser().resolve())
    return chosen, FolderAnswers(answers or folder_answers.default_address(key), chosen.files)


def _hashed(folder: Path, name: str) -> Listing:
    """List a folder that is unpacked for each run: its files are those of the last run by their content."""
    listing = remote_folder.list_files(str(folder))
    files = (replace(file, version=labelled_folder.content_hash(folder / file.name)) for file in listing.files)
    return replace(listing, name=name, files=tuple(files))


class ClusterFolder:
    """The outputs of backbones for the images of a folder: computed by `start`, and read afterwards.

    Args:
        config: the front's.
        entries: the backbones.
        kind: what they compute: logits, or features, and with these how each image looks.
        listing: the folder.
        answers: what is computed.
    """

    def __init__(
        self, config: Config, entries: Sequence[Entry], kind: Kind, listing: Listing, answers: FolderAnswers
    ) -> None:
        self._config, self._kind, self._listing, self._answers = config, kind, listing, answers
        self._entries: list[Entry | None] = [*([None] if kind == "features" else []), *entries]
        self._described = dict[str, Described]()
        self._fingerprints = dict[str, str]()  # of the rows that count, by backbone
        self._problems = dict[str, LineupError]()  # of backbones
        self._unread = dict[str, ImageError]()  # of images, now: they are tried again by the next run
        self._done, self._begun, self._computed, self._since = 0, threading.Event(), 0, 0.0
        self._state: State = "running"
        self._cancelled, self.problem = threading.Event(), ""

    # --- computing, as a job ---

    def start(self, name: str = "") -> threading.Thread:
        """Compute what is missing, in a thread."""
        thread = threading.Thread(target=self._run, name="cluster folder", daemon=True)
        thread.start()
        return thread

    def cancel(self, name: str = "") -> None:
        """Stop after the current block."""
        self._cancelled.set()

    def status(self, name: str = "") -> JobStatus:
        """Return how far it is."""
        total, elapsed_s = len(self._listing.files) * len(self._entries), time.monotonic() - self._since
        rate = self._computed / elapsed_s if self._computed else None
        return JobStatus("", "folder", {}, self._state, self._done, total, self.problem, rate)

    def _run(self) -> None:
        try:
            for entry in self._entries:
                self._compute(entry)
            self._state = "cancelled" if self._cancelled.is_set() else "done"
        except LineupError as error:
            self._state, self.problem = "failed", str(error)
        except Exception:
            _log.exception("a folder cannot be computed")
            self._state, self.problem = "failed", INTERNAL_ERROR

    def _compute(self, entry: Entry | None) -> None:
        """Compute what is missing of a backbone."""
        if self._cancelled.is_set():
            return
        name, kind = (entry.name, self._kind) if entry else ("", "appearance")
        task = Task(_of_machine(self._config), entry, kind, self._listing.address)
        files = self._listing.files
        try:
            fingerprint = "appearance"
            if entry:
                found = self._described[name] = folder_pass.described(task, files[: folder_pass.BLOCK_IMAGES])
                fingerprint = found.fingerprint or f"run {secrets.token_hex(8)}"  # unknown: it counts in this run only
            self._fingerprints[name] = fingerprint
            done = self._answers.done(name, fingerprint, kind)
            self._done += len(done)
            self._since, self._computed = time.monotonic(), 0
            missing = [file for file in files if file.name not in done]
            for table in folder_pass.blocks(task, fingerprint, missing) if missing else ():
                if error := failure(table):
                    raise error
                self._keep(table.drop_columns(["failure"]), name)
                if self._cancelled.is_set():
                    return
        except BackboneError as error:
            self._problems[name] = error

    def _keep(self, table: "pa.Table", name: str) -> None:
        """Write rows, but for those of files that could not be read: they may be another time."""
        import pyarrow.compute as pc

        read = pc.not_equal(table["sha256"], "")
        for row in table.filter(pc.invert(read)).select(["image", "details"]).to_pylist():
            self._unread[row["image"]] = folder_answers.problem(row["image"], row["details"])
        if len(kept := table.filter(read)):
            self._answers.write(kept, name)
        self._done, self._computed = self._done + len(table), self._computed + len(table)

    # --- what was computed ---

    def images(self) -> ImageSet:
        """Return the images, of which copies are left out, and so are files that are no images.

        Raises:
            LineupError: when there is none, or no backbone could compute any.
        """
        hashes, problems = dict[str, str](), dict(self._unread)
        for entry in self._entries:
            name, kind = (entry.name, self._kind) if entry else ("", "appearance")
            if name not in self._fingerprints:
                continue
            columns = ("sha256", "is_image", "details")
            for table in self._answers.rows(name, self._fingerprints[name], kind, columns):
                for row in table.to_pylist():
                    if row["is_image"]:
                        hashes[row["image"]] = row["sha256"]
                    else:
                        problems[row["image"]] = folder_answers.problem(row["image"], row["details"])
            if len(hashes) + len(problems) >= len(self._listing.files):
                break
        if not hashes and self._problems:
            raise next(iter(self._problems.values()))
        images = [
            LabelledImage(Path(file.name), each.label, each.split, hashes[file.name], each.group)
            for file in self._listing.files
            for each in [file.described]
            if file.name in hashes
        ]
        left_out = sorted([*self._listing.problems, *problems.values()], key=lambda problem: problem.where)
        found = LabelledFolder(tuple(images), tuple(left_out))
        return image_set.distinct(found, Path(), self._listing.name, self._listing.address)

    def pinned(self, name: str, output: "OutputKind" = "classes") -> "FolderBackbone":
        """Return a backbone with its outputs.

        Raises:
            LineupError: when it could not be loaded.
        """
        if name not in self._described:
            raise self._problems[name]
        found, problem = self._described[name], self._problems.get(name)
        return FolderBackbone(name, found, self._answers, self._fingerprints[name], self._kind, problem)

    def appearances(self, images: Sequence[EvaluatedImage]) -> list[Appearance | None]:
        """Return how each image looks; None for one that cannot be read."""
        found = list[Appearance | None]([None] * len(images))
        at = {image.name: index for index, image in enumerate(images)}
        for table in self._answers.rows("", self._fingerprints[""], "appearance", ("output", "details", "problem")):
            for row in table.to_pylist():
                if row["image"] in at and not row["problem"] and row["output"]:
                    camera, taken_s = json.loads(row["details"])
                    found[at[row["image"]]] = Appearance(np.array(row["output"], np.float32), camera, taken_s)
        return found


class FolderBackbone(ComputedBackbone):
    """A backbone with what it has computed of a folder."""

    def __init__(
        self, name: str, found: Described, answers: FolderAnswers, key: str, kind: Kind, problem: LineupError | None
    ) -> None:
        super().__init__(name, found)
        self._answers, self._key, self._kind, self._problem = answers, key, kind, problem

    def computed(self, images: Sequence[EvaluatedImage], indices: Sequence[int]) -> Iterator[Outputs]:
        at = {images[index].name: index for index in indices}
        columns = ("output", "problem", "details")
        for table in self._answers.rows(self.name, self._key, self._kind, columns):
            names = [at.get(name, -1) for name in table["image"].to_pylist()]
            wrong = table["problem"].to_pylist()
            rows = [row for row, index in enumerate(names) if index >= 0 and not wrong[row]]
            failed = [row for row, index in enumerate(names) if index >= 0 and wrong[row]]
            details = table["details"].to_pylist()
            problems = {names[row]: folder_answers.problem(images[names[row]].name, details[row]) for row in failed}
            values = table["output"].take(rows).combine_chunks().flatten().to_numpy(zero_copy_only=False)
            n_outputs = len(values) // len(rows) if rows else self.plan.output_dim
            yield Outputs([names[row] for row in rows], values.reshape(len(rows), n_outputs), problems)
        if self._problem:
            raise self._problem


def _of_machine(config: Config) -> Config:
    """Return the config of a machine: it computes by itself, and has another working directory."""
    copied = config.model_copy(update={"cluster": None})
    copied._folder = config._folder.resolve()
    return copied


def _no_images(listing: Listing, split: str) -> None:
    splits = sorted({file.described.split for file in listing.files if file.described.split})
    if split and listing.files:
        got = f"{listing.name} has {', '.join(splits) or 'none'}"
        raise LineupError("split", f"a split called {split[:40]!r}", got, "choose another one, or leave it out")
    got, remedy = "it has none", "choose a folder of images"
    if listing.problems:
        got, remedy = f"it has only {listing.problems[0].where}: {listing.problems[0].got}", listing.problems[0].remedy
    raise LineupError(listing.name, "images", got, remedy)

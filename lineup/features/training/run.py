"""The trainings of a service, and what to do with their results: report, predict, save, add, push."""

import functools
import hashlib
import tempfile
from pathlib import Path

import numpy as np

from lineup.analysis import heads, training
from lineup.analysis.training import TrainingReport
from lineup.config import Entry
from lineup.errors import FeaturesOnlyError, LineupError
from lineup.features.training import recording, saving
from lineup.features.training.jobs import IMAGES, KEEP_DAYS, KIND, MAX_RUNNING, TrainingJobs, normalized
from lineup.images.image_set import ImageSet
from lineup.images.labelled_folder import folder_name
from lineup.results import Prediction

__all__ = ["IMAGES", "KEEP_DAYS", "KIND", "MAX_RUNNING", "Trainings"]


class Trainings(TrainingJobs):
    """The trainings of a service, also those of earlier processes. Thread-safe."""

    def delete_old(self) -> None:
        """Delete the trainings that are older than KEEP_DAYS, and the saved classifiers that no entry uses."""
        super().delete_old()
        saving.delete_old([self.service.entry(name).backbone for name in self.service.names])

    def report(self, training: str) -> TrainingReport:
        """Return the report of a training, which may still be running; the last ones are kept."""
        return _report(self, training, self.status(training).done)

    def head(self, training: str, backbone: str) -> heads.Head:
        """Return the head of a backbone.

        Raises:
            LineupError: when the training has none.
        """
        names = list(self.status(training).settings["backbones"])
        index = names.index(backbone) if backbone in names else -1
        if index < 0 or (head := recording.read_head(self.folder(training), index)) is None:
            got = f"got {str(backbone)[:60]!r}"
            raise LineupError("backbone", "one that was trained", got, f"use one of: {', '.join(names)}")
        return head

    def predict(self, training: str, backbone: str, image: Path) -> list[Prediction]:
        """Return the classes of an image by the head of a backbone, most probable first, before it is saved.

        Raises:
            LineupError: when the image cannot be read, or the training has no head of this backbone.
        """
        head, classes = self.head(training, backbone), self.report(training).classes
        with self.service.pinned(backbone, "features") as pinned:
            features = pinned.output(image, self.service.turn).logits
            probabilities = head.probabilities(normalized(pinned, features))[0]
        order = np.argsort(-probabilities, kind="stable").tolist()
        return [Prediction(at, None, classes[at], float(probabilities[at])) for at in order]

    @property
    def candidates(self) -> list[str]:
        """The names of the entries that can be trained, also those that have no classes of their own."""
        return [
            status.name
            for status in self.service.backbones()
            if (status.status != "unavailable" or isinstance(status.problem, FeaturesOnlyError))
            and self.service.entry(status.name).spec.source != "torchvision"
        ]

    def save(self, training: str, backbone: str, folder: Path) -> None:
        """Save a backbone with its head to a new folder, which appears whole or not at all.

        Raises:
            LineupError: when the folder exists, the disk is full, or the training has no head of this backbone.
        """
        head, report, entry = self.head(training, backbone), self.report(training), self.service.entry(backbone)
        saving.require_new(folder)
        with self.service.pinned(backbone, "features") as pinned:
            saving.save(folder, pinned, head, report, entry)

    def python(self, training: str, backbone: str, name: str) -> str:
        """Return Python that loads the folder `name` that `save` writes, as its model card has it."""
        head, report, name = self.head(training, backbone), self.report(training), folder_name(name)
        with self.service.pinned(backbone, "features") as pinned:
            return saving.python(name, pinned, head, report)

    def archive(self, training: str, backbone: str, name: str) -> Path:
        """Return a zip file, in the folder of the training, of the folder `name` that `save` writes."""
        name = folder_name(name)
        digest = hashlib.sha256(f"{name}/{folder_name(backbone)}".encode()).hexdigest()  # both names may be long
        path = self.folder(training) / f"{digest[:32]}.zip"
        return saving.archive(path, name, lambda folder: self.save(training, backbone, folder))

    @property
    def adding_problem(self) -> LineupError | None:
        """Why no entry may be added to this page: strangers may do so only with ``training: {public: true}``."""
        return saving.adding_problem(self.service.config)

    def add(self, training: str, backbone: str, name: str) -> Entry:
        """Add a backbone with its head to the running page, for everybody, and return its entry.

        Raises:
            LineupError: when that is not allowed, the name is in use, or as for `save`.
        """
        if problem := self.adding_problem:
            raise problem
        with saving.folder_for(name) as folder:
            entry = saving.entry_of(name, f"local-dir:{folder}")
            if entry.name in self.service.names:
                got = f"there is a {entry.name!r}"
                raise LineupError("name", "a name that is not in use", got, "choose another one")
            self.save(training, backbone, folder)
            self.service.add(entry)
        return entry

    def push(self, training: str, backbone: str, repo: str, private: bool = False) -> str:
        """Push the folder that `save` writes to a model repository on the Hub, and return its URL.

        Raises:
            LineupError: as for `save`, and when the Hub refuses it or does not respond.
        """
        with tempfile.TemporaryDirectory(prefix="lineup-") as parent:
            folder = Path(parent) / repo.rpartition("/")[2]
            self.save(training, backbone, folder)
            return saving.push(folder, repo, private)


@functools.lru_cache(maxsize=8)
def _report(trainings: Trainings, name: str, n_done: int) -> TrainingReport:
    folder, status, images = trainings.folder(name), trainings.status(name), ImageSet.read(trainings.folder(name))
    classes, related = training.classes_of(images), recording.read_related(folder)
    truth, found, left_out = training.truth_of(images, classes), [], dict[str, str]()
    for index, (backbone, done) in enumerate(zip(status.settings["backbones"], trainings.progress(name), strict=True)):
        if trained := recording.read_backbone(folder, index, truth, classes, done.problems):
            found.append(trained)
        else:
            left_out[backbone] = done.problem or "it has not finished"
    groups = np.array(related.groups if related else range(len(images.images)))
    share = status.done / status.total if status.total else 1.0
    pairs, uniform = recording.near_duplicates(related), tuple(related.uniform if related else ())
    return TrainingReport(images, classes, groups, pairs, tuple(found), left_out, share, uniform)

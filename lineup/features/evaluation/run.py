"""Runs evaluations: jobs that compute the logits of every image with every backbone, and keep them."""

import json
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lineup.analysis.label_mapping import Meaning
from lineup.errors import BackboneError, BusyError, LineupError, writing_errors
from lineup.features.evaluation import recording
from lineup.features.evaluation.recording import LogitsWriter, RunBackbone
from lineup.hub import atomic_write
from lineup.hub.cache_folder import cache_folder
from lineup.images import image_set
from lineup.images.image_set import ImageSet
from lineup.inference import stored_outputs
from lineup.inference.answer_store import AnswerStore
from lineup.inference.background_jobs import BackgroundJobs
from lineup.inference.computed_backbone import Elsewhere
from lineup.inference.jobs import Job, Jobs
from lineup.inference.pinned_backbone import PinnedBackbone
from lineup.inference.postprocessing import class_logits
from lineup.page.folder_uploads import Uploads
from lineup.service import Service

KIND = "evaluation"
SERVER_SLICE_S = 0.05  # of a batch: a request waits for it
KEEP_DAYS = 1  # since the last answer
STORE_BYTES = 2 << 30
MAX_RUNNING = 8  # at the same time, in one process
IMAGES = "images"  # the folder of uploaded images
_MAPPING = "mapping.json"


class Evaluations(BackgroundJobs):
    """The evaluations of a service, also those of earlier processes. Thread-safe.

    Args:
        service: computes.
        folder: of the evaluations.
        slice_s: how long a batch may take.
        elsewhere: has computed the images on other machines; by default, the service computes.
    """

    def __init__(
        self,
        service: Service,
        folder: Path | None = None,
        slice_s: float = SERVER_SLICE_S,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.service, self._slice_s, self._choosing = service, slice_s, threading.Lock()
        self._pinned = (elsewhere or service).pinned
        cache = cache_folder("evaluations")
        super().__init__(KIND, Jobs(folder or cache / "jobs", service.background_turn, keep_days=KEEP_DAYS))
        self._store = AnswerStore(cache / "answers.sqlite", STORE_BYTES)

    def create(self, images: ImageSet, backbones: Sequence[str]) -> str:
        """Create an evaluation, to be run by `run` or `start`, and return its id.

        Raises:
            LineupError: when a name is unknown, or the folder cannot be written.
            BusyError: when MAX_RUNNING others are running.
        """
        self.check_room()
        names = [self.service.known(name) for name in backbones]
        settings = {"backbones": names, "name": images.name, "n_images": len(images.images)}
        evaluation = self._jobs.create(KIND, settings, len(images.images) * len(names))
        try:
            with writing_errors("evaluation", "its images on disk", "free some space"):
                images.write(self.folder(evaluation))
        except LineupError:
            self.delete(evaluation)
            raise
        return evaluation

    def create_from(self, uploads: Uploads, upload: str, backbones: Sequence[str]) -> str:
        """Create an evaluation of uploaded images, which move to its folder.

        Raises:
            LineupError: as `create` does, and when there is no such upload.
        """
        evaluation = self.create(uploads.images(upload), backbones)
        uploads.move(upload, self.folder(evaluation) / IMAGES).write(self.folder(evaluation))
        return evaluation

    def create_again(self, evaluation: str, backbones: Sequence[str]) -> str:
        """Create an evaluation of the images of another one, with its files of choices, such as meanings of labels.

        Raises:
            LineupError: as `create` does, and when there is no such evaluation.
        """
        old, images = self.folder(evaluation), ImageSet.read(self.folder(evaluation))
        new = self.folder(self.create(images, backbones))
        try:
            if (old / IMAGES).is_dir():
                image_set.copy_folder(old / IMAGES, new / IMAGES)
            for path in old.glob("*.json"):
                if not (new / path.name).exists() and not path.name.startswith("backbone-"):
                    shutil.copy(path, new / path.name)
        except OSError as error:
            self.delete(new.name)
            got = f"writing failed ({error.strerror or 'its files are gone'})"
            raise LineupError("evaluation", "a copy of its images", got, "choose the folder again") from error
        images.moved(old / IMAGES, new / IMAGES).write(new)
        return new.name

    def chosen(self, evaluation: str) -> dict[str, Meaning]:
        """Return the meanings of labels that were chosen."""
        path = self.folder(evaluation) / _MAPPING
        found: dict[str, Meaning] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found

    def choose(self, evaluation: str, meanings: Mapping[str, Meaning]) -> None:
        """Keep meanings of labels, for every report that is made without others.

        Raises:
            LineupError: when there is no such evaluation, or the disk is full.
        """
        folder = self.folder(evaluation)
        with self._choosing:
            chosen = self.chosen(evaluation) | dict(meanings)
            with writing_errors("mapping", "a file on disk", "free some space"):
                atomic_write.write_text(folder / _MAPPING, json.dumps(chosen))

    @property
    def max_running(self) -> int:
        """How many may run at the same time in this process."""
        return MAX_RUNNING

    def progress(self, evaluation: str) -> list[recording.Progress]:
        """Return the images that each backbone is done with."""
        count = len(self.status(evaluation).settings["backbones"])
        return recording.progress(self._jobs.results(evaluation), count)

    def _work(self, job: Job) -> None:
        images = ImageSet.read(job.folder)
        done = self.progress(job.folder.name)
        for index, name in enumerate(job.settings["backbones"]):
            rest = [at for at in range(len(images.images)) if at not in done[index].done]
            if not rest:
                continue
            try:
                with self._pinned(name) as backbone:
                    self._evaluate(job, index, backbone, images, rest, len(done[index].rows))
            except (BackboneError, BusyError) as error:
                if isinstance(error, BusyError) and not self.service.loads_on_demand:
                    raise  # no quota of ZeroGPU: the evaluation is resumed later
                # images that were recorded meanwhile keep their answers
                now = recording.progress(self._jobs.results(job.folder.name), len(done))[index].done
                job.record(_problem(index, at, error) for at in rest if at not in now)

    def _evaluate(
        self, job: Job, index: int, backbone: PinnedBackbone, images: ImageSet, rest: Sequence[int], n_rows: int
    ) -> None:
        """Compute the images with the indices `rest`."""
        paths = (images.images[at].path for at in rest)
        latency_ms = backbone.latency_ms(paths, job.slice, job.cancelled)
        _described(backbone, latency_ms).write(job.folder, index)
        turns = job.slice, self._slice_s, job.cancelled
        outputs = stored_outputs.compute(backbone, images.images, rest, self._store, *turns)
        with LogitsWriter(job.folder, index, n_rows, backbone.plan.num_classes) as writer:
            for some in outputs:
                writer.append(class_logits(backbone.plan, some.rows))
                answers = [{"backbone": index, "image": at} for at in some.images]
                errors = ((at, _at(images.images[at].name, error)) for at, error in some.problems.items())
                job.record(answers + [_problem(index, at, error) for at, error in errors])


def _at(name: str, error: LineupError) -> LineupError:
    """Return an error that names the image with its folders."""
    return LineupError(name, error.expected, error.got, error.remedy)


def _problem(backbone: int, image: int, error: LineupError) -> dict[str, Any]:
    return {"backbone": backbone, "image": image, "problem": str(error)}


def _described(backbone: PinnedBackbone, forward_ms: float | None) -> RunBackbone:
    plan, n_bytes = backbone.plan, backbone.download_bytes
    return RunBackbone(
        name=backbone.name,
        labels=plan.labels,
        activation=plan.activation,
        is_exclusive=plan.activation == "softmax" or plan.num_outputs not in (None, plan.num_classes),
        forward_ms=forward_ms,
        weights_mb=n_bytes / 1e6 if n_bytes else None,
        engine=backbone.engine,
        fingerprint=backbone.fingerprint,
        license=plan.license,
        notes=plan.notes,
    )

"""Runs trainings: jobs that compute the features of every image with every backbone, and fit a head to them."""

import functools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lineup.analysis import folds, heads, training
from lineup.analysis.verdict import Cost
from lineup.errors import BackboneError, BusyError, ImageError, LineupError
from lineup.features.training import recording, saving
from lineup.features.training.recording import Progress, Recorded, Related
from lineup.hub.cache_folder import cache_folder
from lineup.images import image_set, similarity
from lineup.images.image_set import ImageSet
from lineup.inference import batches, stored_outputs
from lineup.inference.answer_store import AnswerStore
from lineup.inference.background_jobs import BackgroundJobs
from lineup.inference.computed_backbone import Elsewhere
from lineup.inference.jobs import Job, Jobs
from lineup.inference.pinned_backbone import PinnedBackbone
from lineup.service import Service

KIND = "training"
SERVER_SLICE_S = 0.05  # of a batch: a request waits for it
KEEP_DAYS = 1  # since the last result
STORE_BYTES = 2 << 30
MAX_RUNNING = 4  # at the same time, in one process
IMAGES = "images"  # the folder of uploaded images


class TrainingJobs(BackgroundJobs):
    """The trainings of a service as jobs: created, run and deleted. Thread-safe.

    Args:
        service: computes.
        folder: of the trainings.
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
        self.service, self._slice_s, self._elsewhere = service, slice_s, elsewhere
        self._pinned = (elsewhere or service).pinned
        cache = cache_folder("trainings")
        super().__init__(KIND, Jobs(folder or cache / "jobs", service.background_turn, keep_days=KEEP_DAYS))
        self._store = AnswerStore(cache / "features.sqlite", STORE_BYTES)

    def create(self, images: ImageSet, backbones: Sequence[str], copied_from: Path | None = None) -> str:
        """Create a training, to be run by `run` or `start`, and return its id.

        Args:
            images: with labels; a split called test or validation is held out.
            backbones: names of entries.
            copied_from: the folder of uploaded images, which are copied, so that more can be added there afterwards.

        Raises:
            LineupError: when there are no two classes, a name is unknown, or the disk is full.
        """
        names = [self.service.known(name) for name in backbones]
        if not names:
            raise LineupError("backbones", "at least one backbone", "none is selected", "select one")
        _check(images)
        settings = {"backbones": names, "name": images.name, "n_images": len(images.images)}
        name = self._jobs.create(KIND, settings, (len(images.images) + 1) * len(names))
        folder = self.folder(name)
        if copied_from:
            try:
                image_set.copy_folder(copied_from, folder / IMAGES)
            except OSError as error:
                self.delete(name)
                got = f"writing failed ({error.strerror or 'its files are gone'})"
                raise LineupError("training", "a copy of its images", got, "try again") from error
            images = images.moved(copied_from, folder / IMAGES)
        images.write(folder)
        return name

    @property
    def max_running(self) -> int:
        """How many may run at the same time in this process."""
        return MAX_RUNNING

    def progress(self, training: str) -> list[Progress]:
        """Return what each backbone is done with."""
        return recording.progress(self._jobs.results(training), len(self.status(training).settings["backbones"]))

    def _work(self, job: Job) -> None:
        images = ImageSet.read(job.folder)
        # 1.4 s of imports, while the first backbone computes
        threading.Thread(target=heads.warm_up, args=(len(images.images), len(_check(images))), daemon=True).start()
        related = recording.read_related(job.folder) or self._related(job, images)
        for index, (name, done) in enumerate(
            zip(job.settings["backbones"], self.progress(job.folder.name), strict=True)
        ):
            if done.problem or recording.read_head(job.folder, index):
                continue
            try:
                if plan := self.service.planned(name):
                    saving.require_savable(plan)  # before its weights are downloaded
                with self._pinned(name, "features") as backbone:
                    self._train(job, index, backbone, images, done, np.array(related.groups))
            except MemoryError:
                raise _no_memory(len(images.images)) from None
            except (BackboneError, BusyError) as error:
                if isinstance(error, BusyError) and not self.service.loads_on_demand:
                    raise  # no quota of ZeroGPU: the training is resumed later
                left = [at for at in range(len(images.images)) if at not in done.images]
                job.record({"backbone": index, "image": at, "problem": str(error)} for at in left)
                job.record([{"backbone": index, "problem": str(error)}])

    def _related(self, job: Job, images: ImageSet) -> Related:
        """Find the images that belong together."""

        def seen(path: str) -> similarity.Appearance | None:
            if job.cancelled():
                return None
            try:
                return similarity.appearance(path, self.service.config.limits.max_megapixels)
            except ImageError:
                return None

        if self._elsewhere:
            found = self._elsewhere.appearances(images.images)
        else:
            with batches.decoding_threads() as threads:
                found = list(threads.map(seen, [image.path for image in images.images]))
        job.check()
        related = _related(images, found)
        related.write(job.folder)
        return related

    def _train(
        self, job: Job, index: int, backbone: PinnedBackbone, images: ImageSet, done: Progress, groups: np.ndarray
    ) -> None:
        """Compute the features of all images, fit a head, and write it."""
        saving.require_savable(backbone.plan)
        n, classes = len(images.images), training.classes_of(images)
        truth, is_held_out = training.truth_of(images, classes), training.held_out(images)
        features = np.full((n, backbone.plan.embedding_dim), np.nan, np.float32)
        latency_ms = backbone.latency_ms((image.path for image in images.images), job.slice, job.cancelled)
        turns = job.slice, self._slice_s, job.cancelled
        for some in stored_outputs.compute(backbone, images.images, range(n), self._store, *turns):
            features[some.images] = some.rows
            results = [{"backbone": index, "image": at} for at in some.images if at not in done.images]
            problems = {at: str(error) for at, error in some.problems.items() if at not in done.images}
            job.record([*results, *({"backbone": index, "image": at, "problem": p} for at, p in problems.items())])
        features = normalized(backbone, features)
        is_known = np.isfinite(features).all(axis=1) & (truth >= 0)
        fitted = np.flatnonzero(training.to_fit(is_held_out, np.where(is_known, truth, -1), groups))
        tested = np.flatnonzero(is_known & training.to_test(images))
        _require_images(backbone.name, classes, truth[fitted])
        begun = time.perf_counter()
        with ThreadPoolExecutor(1, "fit", batches.lower_priority) as thread:  # requests come first
            fit = functools.partial(heads.cross_validated, check=job.check)
            found = thread.submit(fit, features[fitted], truth[fitted], groups[fitted], len(classes)).result()
        right = found.head.probabilities(features[tested]).argmax(axis=1) == truth[tested] if len(tested) else None
        n_bytes = backbone.download_bytes or backbone.weights_bytes  # nothing was downloaded
        recorded = Recorded(
            name=backbone.name,
            cost=Cost(latency_ms, n_bytes / 1e6 if n_bytes else None),
            engine=backbone.engine,
            license=backbone.plan.license,
            fit_s=time.perf_counter() - begun,
            n_fitted=found.n_fitted,
            held_out=None if right is None else (int(right.sum()), len(right), len(fitted)),
        )
        recording.write(job.folder, index, recorded, found, fitted, n)
        job.record([{"backbone": index}])


def _related(images: ImageSet, found: Sequence[similarity.Appearance | None]) -> Related:
    """Return which images belong together, given how each one looks."""
    n, classes = len(images.images), training.classes_of(images)
    truth, labels = training.truth_of(images, classes), np.array([image.label or "" for image in images.images])
    alike, certain, named, conflicts = folds.Groups(n), folds.Groups(n), dict[str, int](), list[tuple[int, int, bool]]()
    pairs = [(named.setdefault(image.group, at), at) for at, image in enumerate(images.images) if image.group]
    for first, second in [*pairs, *similarity.bursts(found)]:
        alike.link(first, [second])
        certain.link(first, [second])
    for first, others, correlations in similarity.near_duplicates(found):
        is_copy = correlations >= similarity.COPY_CORRELATION
        alike.link(first, others)
        certain.link(first, others[is_copy])
        different = np.flatnonzero((labels[others] != labels[first]) & (labels[others] != "") & (labels[first] != ""))
        if len(different):  # the most similar one: of a thousand that look alike there are half a million pairs
            at = different[correlations[different].argmax()]
            conflicts.append((first, int(others[at]), bool(is_copy[at])))
    uniform = folds.uniform_classes(truth, alike.ids, certain.ids)
    groups = folds.without_uniform(truth, alike.ids, certain.ids, uniform)
    shown = [
        (one, other) for one, other, is_copy in conflicts if is_copy or not np.isin(truth[[one, other]], uniform).any()
    ]
    return Related(groups.tolist(), shown, [classes[label] for label in uniform])


def _check(images: ImageSet) -> tuple[str, ...]:
    """Return the classes.

    Raises:
        LineupError: when there are no two, or what fits a head to so many images is not installed.
    """
    classes = training.classes_of(images)
    if len(classes) < 2:
        to_train = [image for image, is_out in zip(images.images, training.held_out(images), strict=True) if not is_out]
        n, others = len(to_train), " to train on" if len(to_train) < len(images.images) else ""
        if classes and (n_labelled := sum(image.label is not None for image in to_train)) < n:
            n, others = n_labelled, f"{others} with a label"
        all_are, none_has = f"all {n:,} images{others} are", f"none of the {n:,} images{others} has a label"
        if n == 1:
            all_are, none_has = f"the only image{others} is", f"the only image{others} has no label"
        got = f"{all_are} of {classes[0]!r}" if classes else none_has
        conflicts = len(images.conflicts)
        got += f", and {conflicts} are there under several labels" if conflicts else ""
        remedy = "put the images of each class into a folder of its own, named as the class"
        raise LineupError(images.name, "images of two classes or more", got, remedy)
    n_fitted = int((training.truth_of(images, classes)[~training.held_out(images)] >= 0).sum())
    heads.require_for(heads.method_of(n_fitted, len(classes)))
    return classes


def _require_images(backbone: str, classes: Sequence[str], truth: np.ndarray) -> None:
    counts = np.bincount(truth, minlength=len(classes))
    if lacking := [name for name, count in zip(classes, counts, strict=True) if not count]:
        got = f"none of {', '.join(lacking[:5])} can be"
        raise BackboneError(backbone, "an image of each class that can be read", got, "replace these files")


def normalized(backbone: PinnedBackbone, features: np.ndarray) -> np.ndarray:
    """Return features ``(N, D)`` as the head gets them: of length 1 if only their direction counts."""
    if not (backbone.plan.embedding and backbone.plan.embedding.is_normalized):
        return features
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit: np.ndarray = features / np.maximum(lengths, 1e-12)
    return unit


def _no_memory(n_images: int) -> LineupError:
    got = f"{n_images:,} images take more than there is"
    return LineupError("training", "enough memory for the features", got, "use fewer images, or a smaller backbone")

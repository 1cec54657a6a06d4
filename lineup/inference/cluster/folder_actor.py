"""What a machine of a cluster does with a folder: it reads some images, and computes them as a single machine would."""

import hashlib
import json
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lineup.config import Config, Entry
from lineup.errors import ImageError, LineupError, brief
from lineup.images import remote_folder, similarity
from lineup.images.image_bytes import ImageBytes
from lineup.images.reading import check_header
from lineup.inference import batches, execution
from lineup.inference.cluster import folder_answers
from lineup.inference.cluster.folder_answers import Kind
from lineup.inference.computed_backbone import Described
from lineup.inference.pinned_backbone import PinnedBackbone
from lineup.inference.postprocessing import class_logits
from lineup.registry.remote import RemoteEmbedding

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

    from lineup.registry import Plan
    from lineup.registry.plan import OutputKind

READ_THREADS = 16  # of a block: a request to S3 takes some 50 ms, most of which it waits
SLICE_S = 1.0  # of a batch: there are no requests that wait for it
_LATENCY_IMAGES = 5  # that are tried, if they cannot be read
Computed = tuple[np.ndarray | None, ImageError | None, str]  # an output, or why there is none, and further details
_TOO_LARGE = "make it smaller and try again"


class _Unread(ImageError):
    """A file could not be read now, and may be another time."""


@dataclass(frozen=True)
class Task:
    """What is computed of a folder.

    Attributes:
        config: the front's, without a cluster.
        entry: the backbone; None for how the images look.
        kind: what is computed.
        address: the folder's.
    """

    config: Config
    entry: Entry | None
    kind: Kind
    address: str


def describe(task: Task, names: Sequence[str]) -> Described | LineupError:
    """Load a backbone, and return what is known of it, or why it cannot be loaded.

    Args:
        task: has the backbone.
        names: of the first images, one of which is computed.
    """
    try:
        with _Machine(task) as machine:
            return machine.described(names)
    except LineupError as error:
        return error


class FolderActor:
    """Computes blocks of images; an actor of Ray Data. Thread-safe: a block is read while another one is computed."""

    def __init__(self, task: Task, fingerprint: str) -> None:
        self._task, self._fingerprint, self._problem = task, fingerprint, b""
        try:
            self._machine = _Machine(task)
            self._machine.require(fingerprint)
        except LineupError as error:
            self._problem = pickle.dumps(error)

    def __call__(self, files: "pa.Table") -> "pa.Table":
        """Return a row for each image, or one row with the error that ends the pass."""
        import pyarrow as pa

        if self._problem:
            return _failed(self._problem)
        try:
            rows = self._machine.rows(files.to_pylist())
        except LineupError as error:
            return _failed(pickle.dumps(error))
        entry = self._task.entry
        same = {
            "backbone": entry.name if entry else "",
            "fingerprint": self._fingerprint,
            "kind": self._task.kind,
            "failure": b"",
        }
        return pa.Table.from_pylist([row | same for row in rows], schema=_schema())


def failure(table: "pa.Table") -> LineupError | None:
    """Return the error that a block has instead of rows."""
    if not len(table) or not (problem := table["failure"][0].as_py()):
        return None
    error: LineupError = pickle.loads(problem)
    return error


def _failed(problem: bytes) -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_pylist([{"failure": problem}], schema=_schema())


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return folder_answers.schema().append(pa.field("failure", pa.binary()))


class _Machine:
    """Reads images of a folder, and computes them with the engine of this machine; a context manager."""

    def __init__(self, task: Task) -> None:
        self._task, config = task, task.config
        self._folder: tuple[FileSystem, str] = remote_folder.open_folder(task.address)
        self._execution = execution.LocalExecution(lambda: config)
        self._backbone: PinnedBackbone | None = None
        if entry := task.entry:
            if entry.name not in self._execution.pool.names:
                self._execution.pool.add(entry)
            output: OutputKind = "features" if task.kind == "features" else "classes"
            self._backbone = PinnedBackbone(self._execution, lambda: config, entry.name, output)

    def require(self, fingerprint: str) -> None:
        """Check that this machine computes what the first one did.

        Raises:
            LineupError: when another precision, device or version would give other outputs.
        """
        if self._backbone and (own := self._backbone.fingerprint) and own != fingerprint:
            expected = "machines that compute the same"
            got = f"one computes with {self._backbone.engine}, or with other versions, than the first"
            remedy = "set `device`, `engine` and `precision` in the config, and install the same versions"
            raise LineupError(f"cluster: {self._backbone.name}", expected, got, remedy)

    def described(self, names: Sequence[str]) -> Described:
        """Return what is known of the backbone."""
        backbone = self._backbone
        assert backbone
        contents = self._read([{"name": name, "size": -1} for name in names[:_LATENCY_IMAGES]])
        images = [each for each in contents if isinstance(each, ImageBytes)]
        errors = [each for each in contents if isinstance(each, _Unread)]
        if errors and len(errors) == len(contents):
            remedy = "share the folder with all of them at the same path, or use s3://"
            raise LineupError(
                self._task.address, "a folder that each machine of the cluster can read", str(errors[0]), remedy
            )
        return Described(
            _portable(backbone.plan),
            backbone.engine,
            backbone.fingerprint,
            backbone.latency_ms(images, self._turn),
            backbone.download_bytes,
            backbone.weights_bytes,
        )

    def rows(self, files: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return a row for each file.

        Raises:
            BackboneError: when a forward pass fails.
        """
        contents = self._read(files)
        rows = [_row(file, content) for file, content in zip(files, contents, strict=True)]
        images = {
            at: content
            for at, content in enumerate(contents)
            if isinstance(content, ImageBytes) and rows[at]["is_image"]
        }
        computed = (self._outputs if self._backbone else self._appearances)(list(images.values()))
        for at, (output, error, details) in zip(images, computed, strict=True):
            rows[at]["output"], rows[at]["details"] = output, details
            if error:
                rows[at] |= _problem(files[at]["name"], error)
        return rows

    def _outputs(self, images: Sequence[ImageBytes]) -> list[Computed]:
        found, backbone = list[Computed](), self._backbone
        assert backbone
        for batch in batches.compute(backbone, images, self._turn, SLICE_S):
            rows = batch.outputs if backbone.plan.output == "features" else class_logits(backbone.plan, batch.outputs)
            for at, row in enumerate(rows):
                error = batch.problems.get(at)
                found.append((None if error else row, error, ""))
        return found

    def _appearances(self, images: Sequence[ImageBytes]) -> list[Computed]:
        def seen(image: ImageBytes) -> Computed:
            try:
                found = similarity.appearance(image, self._task.config.limits.max_megapixels)
            except ImageError as error:
                return None, error, ""
            return found.pixels, None, json.dumps([found.camera, found.taken_s])

        with batches.decoding_threads() as threads:
            return list(threads.map(seen, images))

    def _turn(self) -> AbstractContextManager[None]:
        return self._execution.background_turn(lambda: False)

    def _read(self, files: Sequence[dict[str, Any]]) -> list[ImageBytes | ImageError]:
        with ThreadPoolExecutor(READ_THREADS, "read") as threads:
            return list(threads.map(self._content, files))

    def _content(self, file: dict[str, Any]) -> ImageBytes | ImageError:
        """Return the content of a file, of which no more is read than an image may have."""
        name, size, max_mb = file["name"], file["size"], self._task.config.limits.max_upload_mb
        max_bytes = int(max_mb * 1e6)
        if size > max_bytes:
            return ImageError(name, f"at most {max_mb} MB", f"got {size / 1e6:.1f}", _TOO_LARGE)
        try:
            content = remote_folder.read_bytes(self._folder, name, max_bytes + 1)
        except OSError as error:
            return _Unread(name, "a file", brief(error), "check it, and whether each machine can read it")
        if len(content) > max_bytes:
            return ImageError(name, f"at most {max_mb} MB", "got more", _TOO_LARGE)
        return ImageBytes(content, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._backbone:
            self._backbone.release()


def _row(file: dict[str, Any], content: ImageBytes | ImageError) -> dict[str, Any]:
    """Return the row of an image without its output."""
    row = {"image": file["name"], "size": file["size"], "version": file["version"], "sha256": "", "is_image": True}
    row |= {"problem": "", "details": "", "output": None}
    if isinstance(content, ImageError):
        return row | {"is_image": False} | _problem(file["name"], content)
    row["sha256"] = hashlib.sha256(content.content).hexdigest()
    try:
        check_header(content)
    except ImageError as error:
        return row | {"is_image": False} | _problem(file["name"], error)
    return row


def _problem(name: str, error: ImageError) -> dict[str, str]:
    named = ImageError(name, error.expected, error.got, error.remedy)
    return {"problem": str(named), "details": folder_answers.details(named)}


def _portable(plan: "Plan") -> "Plan":
    """Return a plan without what builds the network: it cannot be sent to the front, which computes nothing."""
    transform = replace(plan.transform, steps=_elsewhere, resize=None)
    embedding = plan.embedding
    if embedding and plan.output == "features":
        embedding = RemoteEmbedding(embedding.dim, embedding.is_normalized, embedding.is_of_timm)
    return replace(plan, make=_elsewhere, transform=transform, embedding=embedding)


def _elsewhere(*_: object) -> Any:
    raise NotImplementedError("the network is on a machine of the cluster")

"""The endpoints of evaluations, for Gradio's clients, plain HTTP and MCP."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import gradio as gr
from gradio import FileData

from lineup.analysis import label_mapping
from lineup.analysis.evaluation import Scoring, scoring_of
from lineup.errors import LineupError
from lineup.features.evaluation import reading
from lineup.features.evaluation.run import Evaluations
from lineup.images.formats import SUFFIXES
from lineup.page.api import visible_errors
from lineup.page.connections import Connections, on_thread
from lineup.page.folder_uploads import Uploads
from lineup.page.image_field import resolve_upload

WAIT_S = 20  # for the report; an evaluation that takes longer is asked for by its id


class EvaluationApi:
    """Starts evaluations, and returns their reports."""

    def __init__(self, evaluations: Evaluations, uploads: Uploads) -> None:
        self._evaluations, self._uploads = evaluations, uploads

    def start(self, files: Sequence[Path], upload: str, backbones: object, mapping: object) -> tuple[str, Any]:
        """Copy the files, and start an evaluation; return its id, and its thread.

        Raises:
            LineupError: when there are no images, they are over a limit, or an argument is invalid.
        """
        service = self._evaluations.service
        names = service.comparable_all()[0] if backbones is None else service.comparable(backbones)
        maximum = service.config.evaluation.max_images
        if not files and not upload:
            got, remedy = "got none", "send files, or post a folder to /folder and send its id"
            raise LineupError("evaluate", "images, a zip file, or the id of an upload", got, remedy)
        if len(files) > maximum:
            got, remedy = f"got {len(files):,}", "send fewer, or use the command line, which has no limit"
            raise LineupError("evaluate", f"at most {maximum:,} files", got, remedy)
        upload = upload or self._uploads.create()
        self._uploads.add(upload, _opened(files))
        if mapping is not None:  # an invalid one is an error now, not at the end
            labels = {name: known for name in names if (known := service.labels(name))}
            if len(labels) == len(names):
                label_mapping.match(self._uploads.images(upload).labels, labels, _mapping(mapping))
        evaluation = self._evaluations.create_from(self._uploads, upload, names)
        return evaluation, self._evaluations.start(evaluation)

    def answer(self, evaluation: str, scoring: Scoring, mapping: object) -> dict[str, Any]:
        """Return the state of an evaluation, with the report once it does not run any more."""
        status = self._evaluations.status(evaluation)
        state = {"id": status.id, "state": status.state, "done": status.done, "total": status.total}
        if status.state == "running":
            return {**state, "time_left_s": status.time_left_s}
        report = reading.report(self._evaluations, evaluation, _mapping(mapping), scoring)
        return {**report.to_json(), **state, "problem": status.problem}


def _opened(paths: Sequence[Path]) -> Iterator[tuple[str, BinaryIO]]:
    """Yield each file with a name of its own."""
    taken = set[str]()
    for index, path in enumerate(paths):
        is_zip = path.suffix.lower() not in SUFFIXES and zipfile.is_zipfile(path)
        name = f"{path.stem}.zip" if is_zip else path.name  # an upload through MCP may lack the suffix
        name = f"{index}-{name}" if name in taken else name
        taken.add(name)
        with path.open("rb") as file:
            yield name, file


def _mapping(value: object) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        expected = "labels, each with a WordNet id, names of classes, or null"
        raise LineupError("mapping", expected, f"got a {type(value).__name__}", "send an object")
    return value or {}


def _path(file: object) -> Path:
    return resolve_upload(file.get("path") if isinstance(file, dict) else getattr(file, "path", None))


def add(evaluations: Evaluations, uploads: Uploads, connections: Connections) -> None:
    """Add the endpoints to the Blocks that is open."""
    api = EvaluationApi(evaluations, uploads)

    @visible_errors
    async def evaluate(
        archive: FileData = None,  # MCP finds no files in a union
        images: list[FileData] | None = None,
        upload: str | None = None,
        backbones: list[str] | None = None,
        scoring: str | None = None,
        mapping: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Evaluate backbones on a set of images: which one to take, how sure that is, and what it costs.

        Returns the report; if it takes longer than 20 s, only the id, to be passed to the tool evaluation.

        Args:
            archive: a zip file of images, as a data: URI or an upload; its folders are the labels.
            images: image files without labels, as uploads.
            upload: the id that POST /folder has returned for a folder of images.
            backbones: names that the tool backbones lists, each once; the first available ones if left out.
            scoring: what counts as right: among (the best of the folder's labels; if left out) or anywhere.
            mapping: what labels mean, where that is ambiguous: a WordNet id, names of classes, or null for each.
        """
        way = scoring_of(scoring or "among")
        if not isinstance(images, list | None):
            raise LineupError("images", "a list of uploaded files", f"got a {type(images).__name__}", "send a list")
        files = [_path(file) for file in [*([archive] if archive else []), *(images or [])]]

        def run() -> dict[str, Any]:
            evaluation, thread = api.start(files, str(upload or ""), backbones, mapping)
            thread.join(WAIT_S)
            return api.answer(evaluation, way, mapping)

        return await connections.run(lambda cancelled: run())

    @visible_errors
    async def evaluation(id: str, scoring: str | None = None, mapping: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the progress of an evaluation, or its report once it is done.

        Args:
            id: what the tool evaluate has returned.
            scoring: as for the tool evaluate, and so is mapping: nothing is computed again.
            mapping: what labels mean.
        """
        way = scoring_of(scoring or "among")
        return await on_thread(api.answer, str(id), way, mapping)

    gr.api(evaluate, api_name="evaluate", concurrency_limit=None)
    gr.api(evaluation, api_name="evaluation", concurrency_limit=None)

"""The routes of trained backbones: the answer to an image, and the folder as a zip file."""

import tempfile
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from lineup.errors import BusyError, LineupError, writing_errors
from lineup.features.training.run import Trainings
from lineup.images.labelled_folder import folder_name
from lineup.page.folder_uploads import is_disk_full


class AnswerRoute(Route):
    """Classifies the image in a body by ``?training=…&backbone=…``, which need not be added to the page.

    The limit of its body is for the server's middleware.
    """

    def __init__(self, path: str, trainings: Trainings) -> None:
        self._trainings = trainings
        super().__init__(path, self._answer, methods=["POST"])

    @property
    def max_body_bytes(self) -> int:
        """The limit of a body: that of an image."""
        return self._trainings.service.config.limits.max_upload_mb * 10**6

    async def _answer(self, request: Request) -> Response:
        query, body = request.query_params, await request.body()
        return await run_sync(self._response, query.get("training", ""), query.get("backbone", ""), body)

    def _response(self, training: str, backbone: str, body: bytes) -> Response:
        try:
            with writing_errors("image", "to keep it", "try again later"), tempfile.TemporaryDirectory() as folder:
                image = Path(folder, "image")
                image.write_bytes(body)
                found = self._trainings.predict(training, backbone, image)
        except LineupError as error:
            return _refused(error)
        answers = [{"label": each.label, "probability": each.probability} for each in found]
        return JSONResponse({"answers": answers})


class ArchiveRoute(Route):
    """Serves the folder of a trained backbone, by ``?backbone=…&name=…``: the id of the training is the secret.

    It deletes old trainings in the server's sweep.
    """

    def __init__(self, path: str, trainings: Trainings) -> None:
        self._trainings, self.delete_old = trainings, trainings.delete_old
        super().__init__(path, self._send, methods=["GET"])

    async def _send(self, request: Request) -> Response:
        query = request.query_params
        arguments = request.path_params["training"], query.get("backbone", ""), query.get("name", "")
        try:
            path = await run_sync(self._trainings.archive, *arguments)
        except LineupError as error:
            return _refused(error)
        return FileResponse(path, filename=f"{folder_name(arguments[2])}.zip", headers={"Cache-Control": "no-store"})


def _refused(error: LineupError) -> Response:
    status: Any = 503 if isinstance(error, BusyError) else 507 if is_disk_full(error.__cause__) else 400
    return JSONResponse({"detail": str(error)}, status)

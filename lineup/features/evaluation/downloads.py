"""Serves what an evaluation gives to take away, at ``/evaluation/{id}/{file}``: its id is the secret."""

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lineup.analysis.evaluation import Report, scoring_of
from lineup.errors import LineupError
from lineup.features.evaluation import exports, labelling, reading
from lineup.features.evaluation.run import Evaluations
from lineup.images import archive
from lineup.page.folder_uploads import is_disk_full

DIFFERING, LABELLED = "differing.zip", "labelled.zip"
_TYPES = {"html": "text/html", "json": "application/json", "csv": "text/csv", "yaml": "application/yaml"}


def command(evaluations: Evaluations, evaluation: str, report: Report) -> str:
    """Return the command that repeats an evaluation, once its images lie in a folder of this name."""
    names = list(evaluations.status(evaluation).settings["backbones"])
    return exports.command(report.images.name, names, bool(evaluations.chosen(evaluation)), report.scoring)


class DownloadRoute(Route):
    """The route of the files; ``?scoring=anywhere`` is for those that have a verdict."""

    def __init__(self, evaluations: Evaluations) -> None:
        self._evaluations, self.delete_old = evaluations, evaluations.delete_old
        super().__init__("/evaluation/{id}/{file}", self._send, methods=["GET"])

    async def _send(self, request: Request) -> Response:
        scoring = request.query_params.get("scoring", "among")
        return await run_sync(self._response, request.path_params["id"], request.path_params["file"], scoring)

    def _response(self, evaluation: str, name: str, scoring: str) -> Response:
        """Make a file from the answers so far."""
        status = 404
        try:
            self._evaluations.status(evaluation)
            status = 400
            report = reading.report(self._evaluations, evaluation, None, scoring_of(scoring))
            texts = exports.texts(
                report, command(self._evaluations, evaluation, report), self._evaluations.service.config
            )
            if name not in (*texts, DIFFERING, LABELLED):
                status, expected = 404, f"one of {', '.join([*texts, DIFFERING, LABELLED])}"
                raise LineupError("file", expected, f"got {name[:40]!r}", "choose one of them")
            headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
            if name not in texts:
                folder = self._evaluations.folder(evaluation)
                found = exports.differing(report) if name == DIFFERING else labelling.labelled(report, folder)
                body = archive.pack(exports.imagefolder(report, found))
                return StreamingResponse(body, headers=headers, media_type="application/zip")
            return Response(texts[name](), headers=headers, media_type=_TYPES[name.rpartition(".")[2]])
        except LineupError as error:
            return JSONResponse({"detail": str(error)}, status)
        except OSError as error:  # a full disk, or an evaluation that is deleted meanwhile
            detail = f"{name[:40]}: expected the files of this evaluation; got {error.strerror}; try again later"
            return JSONResponse({"detail": detail}, 507 if is_disk_full(error) else 404)

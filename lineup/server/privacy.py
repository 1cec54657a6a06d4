"""What the server keeps of an image: the longest time, and the document that says the rest."""

from pathlib import Path

from starlette.responses import FileResponse
from starlette.routing import Route

from lineup.server.uploads import SWEEP_S, UPLOAD_MAX_AGE_S

DOCUMENT = Path(__file__).parents[2] / "SECURITY.md"
KEPT_S = UPLOAD_MAX_AGE_S + SWEEP_S  # an upload that is just too young is removed by the next sweep


def routes() -> list[Route]:
    """Return ``/SECURITY.md``, to which the page links; none if the file was not installed."""

    async def document(_: object) -> FileResponse:
        return FileResponse(DOCUMENT, media_type="text/plain; charset=utf-8")

    return [Route("/SECURITY.md", document)] if DOCUMENT.is_file() else []

"""The owner's page: the images to review, what visitors corrected, and how to use the accepted images."""

import itertools
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lineup.analysis.corrections import CorrectionRate
from lineup.errors import LineupError
from lineup.features import FEATURES
from lineup.features.feedback import image_files, records
from lineup.features.feedback.feature import FeedbackParts
from lineup.features.feedback.records import Said
from lineup.features.feedback.review import PendingImage
from lineup.page import owner_pages, thumbnails
from lineup.page.sign_in import OwnerPages, View
from lineup.page.templates import renderer
from lineup.service import Service

PAGE_IMAGES = 300
PULL_TIMEOUT_S = 5.0  # for the images of other replicas: the page does not wait longer
MAX_CLASSES = 50  # in the table of corrections
_DECODED_AT_ONCE = 2  # a page requests dozens of thumbnails
_HERE = Path(__file__).parent
_VIEWS = {"": "review", "?view=corrections": "corrections", "?view=accepted": "accepted"}  # names by address
_DOORS = {
    "evaluation": ("evaluate", "Open the page of evaluations"),
    "training": ("classes", "Open the page of classes"),
}
_render = renderer(_HERE / "templates")


@dataclass(frozen=True)
class Row:
    """Images of a page to which visitors gave the same label.

    Attributes:
        n: how many there are on all pages.
    """

    label: str
    is_disputed: bool
    images: tuple[PendingImage, ...]
    n: int


@dataclass(frozen=True)
class ImagePage:
    """One page of the images to review, in rows.

    Attributes:
        first: the number of its first image, from 1.
        n: how many images there are on all pages.
    """

    rows: tuple[Row, ...]
    number: int
    n_pages: int
    first: int
    last: int
    n: int


def image_page(pending: Iterable[PendingImage], number: int, size: int) -> ImagePage:
    """Return a page of images, those first where backbones and visitors disagree; the last page for a larger number."""

    def row(image: PendingImage) -> tuple[bool, str, str]:
        return not image.is_disputed, image.label.casefold(), image.label

    images = sorted(pending, key=row)  # stable: the order within a row stays
    n_pages = max(1, -(-len(images) // size))
    number = min(max(number, 1), n_pages)
    counts = {key: len(list(some)) for key, some in itertools.groupby(images, row)}
    shown = images[(number - 1) * size : number * size]
    rows = [Row(key[2], not key[0], tuple(some), counts[key]) for key, some in itertools.groupby(shown, row)]
    first = (number - 1) * size
    return ImagePage(tuple(rows), number, n_pages, first + 1, first + len(shown), len(images))


class ReviewPage:
    """The owner's page.

    Args:
        service: for its title and the labels of its backbones.
        parts: the feedback of the service.
    """

    def __init__(self, service: Service, parts: FeedbackParts) -> None:
        self._service, self._parts = service, parts
        self._limiter = CapacityLimiter(_DECODED_AT_ONCE)
        self._paths = dict[str, Path]()  # of the images that were shown last: `Review.image` reads all folders

    def routes(self, pages: OwnerPages) -> list[Route]:
        """Return its routes, and add its views to the owner's pages."""
        for address, name in _VIEWS.items():
            pages.add(View(address, name.capitalize(), self._count(name)))
        style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("review.css", "review.js"))
        return [
            pages.page("", partial(self.html, pages)),
            pages.get("/image/{image}", self._image),
            pages.get("/labels", self._labels),
            pages.post("/review", self.decide),
            pages.file("/review.css", style, "text/css"),
            pages.file("/review.js", script, "text/javascript"),
        ]

    def _count(self, name: str) -> Callable[[], int] | None:
        folders = {"review": records.UNREVIEWED, "accepted": records.ACCEPTED}
        folder = self._parts.collection.root / folders.get(name, "")
        return (lambda: len(image_files.by_id(folder))) if name in folders else None

    def html(self, pages: OwnerPages, request: Request) -> str:
        """Render the view that the address names."""
        name = request.query_params.get("view", "review")
        name = name if name in _VIEWS.values() else "review"
        values = {"review": self._review, "corrections": self._corrections, "accepted": self._accepted}[name](request)
        frame = pages.frame(request, next(pages.views[address] for address, each in _VIEWS.items() if each == name))
        accepted = next(n for view, n, _ in frame["navigation"] if view.address == "?view=accepted")
        return _render(f"{name}.html", **frame, n_accepted=accepted, warnings=self._warnings(), **values)

    def _review(self, request: Request) -> dict[str, Any]:
        number = request.query_params.get("page", "")
        page = image_page(self._pending(), int(number[:9]) if number.isdecimal() else 1, PAGE_IMAGES)
        self._paths = {image.id: image.path for row in page.rows for image in row.images}
        rows = [vars(row) | {"images": [_tile(image) for image in row.images]} for row in page.rows]
        return {"page": vars(page) | {"rows": rows}}

    def _corrections(self, _: Request) -> dict[str, Any]:
        rates = self._parts.review.stats().rates
        classes = [rate for rate in rates if rate.label and rate.n_corrected]
        classes.sort(key=lambda rate: -rate.n_corrected)
        return {
            "backbones": [_figures(rate) for rate in rates if not rate.label],
            "classes": [_figures(rate) for rate in classes[:MAX_CLASSES]],
            "n_more": len(classes[MAX_CLASSES:]),
        }

    def _accepted(self, _: Request) -> dict[str, Any]:
        config, folder = self._service.config, self._parts.collection.root / records.ACCEPTED
        doors = [_DOORS[name] for name in _DOORS if name in FEATURES and getattr(config, name).enabled]
        return {"commands": _commands(folder), "repo": config.feedback.repo, "doors": doors}

    def _pending(self) -> list[PendingImage]:
        """Return the images to review, those included that other replicas have sent to the Hub."""
        if self._parts.hub_copy is not None:
            self._parts.hub_copy.pull(PULL_TIMEOUT_S)
        return self._parts.review.pending()

    def decide(self, values: Mapping[str, Any]) -> dict[str, int]:
        """Accept or reject the images `ids`; `label` changes the label of those that are accepted.

        Raises:
            LineupError: when the request makes no sense, or nothing can be written.
        """
        ids, action, label = values.get("ids"), values.get("action"), values.get("label")
        if not isinstance(ids, list) or not ids or not all(isinstance(each, str) for each in ids):
            raise LineupError("ids", "a list of ids of images", f"got {str(ids)[:60]}", "select images")
        if label is not None and not isinstance(label, str):
            raise LineupError("label", "a text", f"got {str(label)[:60]}", "write a label")
        if action not in ("accept", "reject"):
            raise LineupError("action", "accept or reject", f"got {str(action)[:60]}", "reload the page")
        review = self._parts.review
        pending = review.ids()
        ids = [each for each in ids if each in pending]  # others were reviewed in another tab, or by another process
        return {"done": review.accept(ids, label) if action == "accept" else review.reject(ids)}

    async def _image(self, request: Request) -> Response:
        is_small = "small" in request.query_params
        try:
            body = await run_sync(self._jpeg, request.path_params["image"], is_small, limiter=self._limiter)
        except LineupError as error:
            return JSONResponse({"detail": str(error)}, 404)
        return Response(body, media_type="image/jpeg")

    def _jpeg(self, image: str, is_small: bool) -> bytes:
        path = self._paths.get(image)
        if path is None or not records.is_regular_file(path):
            path = self._parts.review.image(image)
        if is_small:
            return thumbnails.jpeg(path, self._service.config.limits.max_megapixels)
        try:
            return path.read_bytes()
        except OSError as error:
            got = f"reading failed ({error.strerror})"
            raise LineupError("image", "an image to review", got, "reload the page") from error

    async def _labels(self, _: Request) -> Response:
        return JSONResponse(await run_sync(self.labels))

    def labels(self) -> list[str]:
        """Return the labels of all backbones, as far as they are known."""
        found = (self._service.labels(name) for name in self._service.names)
        return sorted({label for labels in found if labels and labels.named for label in labels.display_names})

    def _warnings(self) -> list[dict[str, str]]:
        hub_copy = self._parts.hub_copy
        if hub_copy is None or not hub_copy.problem:
            return []
        problem, n = hub_copy.problem.rstrip("."), hub_copy.n_unsent
        waiting = f" {n:,} file{'s wait' if n != 1 else ' waits'} on this machine." if n else ""
        return [{"title": "The copy on the Hub is behind", "text": f"{problem[:1].upper()}{problem[1:]}.{waiting}"}]


def routes(service: Service, parts: FeedbackParts) -> list[Route]:
    """Return the routes of the owner's page; none without a token in the environment, or one that is too short."""
    pages = owner_pages.of(service)
    return ReviewPage(service, parts).routes(pages) if pages else []


def _tile(image: PendingImage) -> dict[str, Any]:
    """Return what a tile shows: what the backbones said, first what differs; its text is for screen readers."""
    given = {label for label, _ in image.labels}
    latest = {said.backbone: said for answer in image.answers for said in answer.said}
    by_label = dict[str, list[Said]]()
    for each in sorted(latest.values(), key=lambda each: each.label in given):
        by_label.setdefault(each.label, []).append(each)
    said = [{"label": label, "by": by, "is_given": label in given} for label, by in by_label.items()]
    heard = (f"{', '.join(each.backbone for each in by)}: {label}" for label, by in by_label.items())
    text = "; ".join([f"Visitors: {', '.join(label for label, _ in image.labels) or image.label}", *heard])
    return {"id": image.id, "label": image.label, "given": image.labels, "said": said, "text": text}


def _figures(rate: CorrectionRate) -> dict[str, Any]:
    share, low, high = (100 * value for value in (rate.share, *rate.interval))
    figures = {
        "n": f"{rate.n:,}",
        "corrected": f"{rate.n_corrected:,}",
        "text": f"{share:.0f}%, {low:.0f} to {high:.0f}%",
    }
    return figures | {"backbone": rate.backbone, "label": rate.label, "share": share, "low": low, "high": high}


def _commands(folder: Path) -> dict[str, str]:
    quoted = shlex.quote(str(folder))
    load = f'from datasets import load_dataset\n\nimages = load_dataset("imagefolder", data_dir={str(folder)!r})'
    vision = f"from torchvision.datasets import ImageFolder\n\nimages = ImageFolder({str(folder)!r})"
    return {
        "evaluate": f"python -m lineup evaluate {quoted}",
        "train": f"python -m lineup train {quoted} --out my-classes",
        "export": "python -m lineup feedback export FOLDER",
        "datasets": load,
        "torchvision": vision,
    }

"""What the page asks about the answers that it shows, and how the client's answer to that is recorded."""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.errors import INTERNAL_ERROR, ImageError, LineupError
from lineup.features.feedback import classes
from lineup.features.feedback.labels import normalized_class, normalized_label
from lineup.features.feedback.records import Receipt, Said
from lineup.images.reading import open_image
from lineup.page import link
from lineup.page.connections import on_thread
from lineup.page.templates import renderer
from lineup.page.visit import Visit, classifications, pending
from lineup.results import Classification
from lineup.service import Service

if TYPE_CHECKING:
    from lineup.features.feedback.collection import Collection

_log = logging.getLogger(__name__)

KEY = "feedback"  # of the panel's state in `Visit.panels`
LOST = "The server has lost these answers, as after a restart. Classify the image again, then answer."
CHANGED = "The answers have changed since. These are the new ones."
_decoding = threading.Lock()  # one image at a time: each may have 120 MB
_render = renderer(Path(__file__).parent / "templates")


@dataclass
class Asked:
    """The question about the answers that a page shows.

    Attributes:
        generation: the request that has these answers.
        token: names the question in events.
        is_recording: whether an answer to it is being recorded.
        recorded: the sentence that says what was recorded; empty before.
    """

    generation: int
    token: str
    is_recording: bool = False
    recorded: str = ""


@dataclass(frozen=True)
class Candidate:
    """The label that *Right* confirms, and who says so, such as "2 of 3 backbones say"; both may be empty."""

    label: str
    by: str


class Asking:
    """Asks about answers, and records what clients say of them.

    Args:
        service: the facade of the line-up.
        collection: returns where the images are kept; it is called when there is one to keep.
    """

    def __init__(self, service: Service, collection: "Callable[[], Collection]") -> None:
        self._service, self._collection = service, collection

    def shown(self, visit: Visit, problem: LineupError | str = "") -> str:
        """Render the question about the answers that a page shows, or what was recorded; nothing while one is pending.

        Args:
            visit: the state of the page.
            problem: why the last answer to the question was not recorded.
        """
        answers = classifications(visit)
        if not answers or pending(visit) or visit.path is None:
            return ""
        asked = visit.panels.get(KEY)
        if not asked or asked.generation != visit.generation:
            asked = visit.panels[KEY] = Asked(visit.generation, secrets.token_hex(8))
        if asked.recorded:
            return _render("recorded.html", sentence=asked.recorded, settings=self._service.config.feedback)
        return _render(
            "question.html",
            token=asked.token,
            candidate=self.candidate(answers),
            backbones=[name for name in answers if (known := self._service.labels(name)) and known.named],
            is_example=link.shows_example(visit.path, visit.example),
            settings=self._service.config.feedback,
            problem=problem,
        )

    def candidate(self, answers: Mapping[str, Classification]) -> Candidate:
        """Return the label of the majority, or of the first backbone whose classes have names."""
        majority = self._service.comparison(list(answers), answers).agreement.majority
        if majority and len(answers) > 1:
            label = answers[majority.backbones[0]].predictions[0].label
            return Candidate(label, f"{_count(len(majority.backbones), len(answers))} say")
        for name, answer in answers.items():
            if (labels := self._service.labels(name)) and labels.named:
                return Candidate(answer.predictions[0].label, f"{name} says" if len(answers) > 1 else "")
        return Candidate("", "")

    async def answer(self, visit: Visit, token: str, label: str | None, visitor: str) -> str | None:
        """Record what a client says of the answers of a page; return what the page shows then, or None for no change.

        Args:
            visit: the state of the page.
            token: the question that it answers.
            label: what the image is; None confirms the candidate.
            visitor: the client's address.
        """
        asked, answers = visit.panels.get(KEY), classifications(visit)
        if not asked or not answers:
            return _render("lost.html", problem=LOST)
        if asked.token != token or asked.generation != visit.generation or pending(visit):
            return self.shown(visit, CHANGED) or None
        if asked.is_recording:  # a double click
            return None
        if asked.recorded:
            return self.shown(visit)
        asked.is_recording = True
        try:
            given = self.candidate(answers).label if label is None else label
            asked.recorded = await asyncio.shield(on_thread(self._record, visit.path, given, answers, visitor))
        except LineupError as error:
            return self.shown(visit, error)
        except Exception:
            _log.exception("an answer was not recorded")
            return self.shown(visit, INTERNAL_ERROR)
        finally:
            asked.is_recording = False
        return self.shown(visit)

    def _record(self, path: Path, given: str, answers: Mapping[str, Classification], visitor: str) -> str:
        receipt = self.record(path, given, list(answers.values()), visitor)
        return sentence(receipt.given, [answer.predictions[0].label for answer in answers.values()])

    def label(self, given: object, backbones: Sequence[str]) -> str:
        """Return the label that a client gives: a class of a backbone, whatever its case, or any other text.

        Raises:
            LineupError: when it is neither.
        """
        named = classes.search(self._service, backbones).named(given) if isinstance(given, str) else ""
        return named or normalized_label(given)

    def record(self, path: Path, given: object, answers: Sequence[Classification], visitor: str) -> Receipt:
        """Keep an image with what it is and what backbones have said of it.

        Args:
            path: an uploaded file.
            given: what the client says that it is.
            answers: of the backbones.
            visitor: the client's address.

        Raises:
            LineupError: when the label is invalid, the image is gone, a limit is reached, or it cannot be written.
        """
        label = self.label(given, [answer.backbone for answer in answers])
        said = [
            Said(answer.backbone, self._service.fingerprint(answer), first.label, first.probability)
            for answer in answers
            for first in answer.predictions[:1]
        ]
        limits = self._service.config.limits
        with _decoding:
            if not path.is_file():
                raise ImageError("image", "an uploaded image", "it is no longer on this server", "choose it again")
            image = open_image(path, limits.max_megapixels, max_mb=limits.max_upload_mb)
            return self._collection().add(image, label, said, visitor)


def sentence(given: str, labels: Sequence[str]) -> str:
    """Say what was recorded.

    Args:
        given: what the client says that the image is, in its normal form.
        labels: what the backbones say.
    """
    n_same = sum(normalized_class(label) == given for label in labels)
    if len(labels) == 1:
        return f"Recorded: “{given}” is right." if n_same else f"Recorded: it is “{given}”, not “{labels[0]}”."
    by = f"as {_count(n_same, len(labels))} say{'s' * (n_same == 1)}"
    return f"Recorded: it is “{given}”, {by if n_same else f'which none of the {len(labels)} backbones says'}."


def _count(n: int, total: int) -> str:
    if n == total:
        return "both backbones" if n == 2 else f"all {n} backbones"
    return f"{n} of {total} backbones"

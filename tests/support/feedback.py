"""Feedback for tests: images that differ by a number, what a backbone said, and a collection with its review."""

from pathlib import Path

from PIL import Image

from lineup.config import Feedback
from lineup.features.feedback.collection import Collection
from lineup.features.feedback.records import Receipt, Said
from lineup.features.feedback.review import Review

START_S = 1_900_000_000.0  # 2030-03-17T17:46:40Z


class Clock:
    """A clock that a test sets."""

    def __init__(self, time_s: float = START_S) -> None:
        self.time_s = time_s

    def __call__(self) -> float:
        return self.time_s


def numbered_image(number: int) -> Image.Image:
    """Return an image that survives JPEG as one that differs from all others up to 16 million."""
    image = Image.new("RGB", (24, 8))
    for bit in range(24):
        image.paste((255,) * 3 if number >> bit & 1 else (0,) * 3, (bit, 0, bit + 1, 8))
    return image.resize((192, 64), Image.Resampling.NEAREST)


def said(label: str, backbone: str = "a", probability: float | None = 0.5) -> Said:
    return Said(backbone, "f1", label, probability)


class Feedbacks:
    """A collection and its review, as the page and the owner use them.

    Args:
        root: the collection's folder.
        settings: of the section `feedback`; by default there are practically no limits.
    """

    def __init__(self, root: Path, **settings: object) -> None:
        self.root, self.clock = root, Clock()
        values: dict[str, object] = {"to": "feedback", "per_visitor": 100_000, "per_day": 1_000_000, **settings}
        self.collection = Collection(root, Feedback.model_validate(values), self.clock)
        self.review = Review(self.collection)

    def add(self, number: int, given: str, *labels: str, visitor: str = "10.0.0.1") -> Receipt:
        """Give the image of a number a label, after a backbone (or several: a, b, …) said labels."""
        answers = [said(label, "abcdef"[index]) for index, label in enumerate(labels or ("jay",))]
        return self.collection.add(numbered_image(number), given, answers, visitor)

    @property
    def files(self) -> list[str]:
        """Return the visible files, without those of answers."""
        paths = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        names = [path.as_posix() for path in paths if not path.name.startswith((".", "answers-"))]
        return sorted(name for name in names if name != "reviews.jsonl")

"""User actions on the page, for the browser tests and the benchmarks."""

from pathlib import Path

import reference
from playwright.sync_api import Page
from reference import BACKBONES, EXAMPLES
from serving import ROOT

FIRST = "#result .lu-first .lu-label"
LABELS_WITHOUT_CLASS = {  # first labels of the two bundled backbones where ImageNet has no class
    "kingfisher": ("jacamar", "jacamar"),
    "owl": ("house finch", "great grey owl"),
}


def screenshot(page: Page, name: str) -> None:
    """Save a screenshot as a test artefact."""
    (ROOT / "artefacts").mkdir(exist_ok=True)
    page.screenshot(path=ROOT / "artefacts" / f"{name}.png", full_page=True)


def label_of(example: Path, backbone: str = BACKBONES[0]) -> str:
    """Return the first label of a bundled backbone for an example."""
    if labels := LABELS_WITHOUT_CLASS.get(example.stem):
        return labels[BACKBONES.index(backbone)]
    return reference.label_of(example.stem)


def click_example(page: Page, example: Path) -> None:
    page.locator("#examples button.thumbnail-item").nth(EXAMPLES.index(example)).click()


def choose(page: Page, backbone: str) -> None:
    page.locator("#backbone input").click()
    page.locator("[role=option]", has_text=backbone).first.click()


def show_labels(page: Page, count: int) -> None:
    number = page.locator("#top-k input[type=number]")
    number.fill(str(count))
    number.press("Enter")

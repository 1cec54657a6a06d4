"""What visitors do on the page, whoever watches: tests and the measure of their clicks."""

from pathlib import Path

from playwright.sync_api import Page
from serving import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.jpg"))
FIRST = "#result .lu-first .lu-label"
LABELS = {"coffee": "espresso", "kingfisher": "jacamar", "polar_bear": "ice bear", "red_panda": "lesser panda"}


def keep(page: Page, name: str) -> None:
    """Keep a screenshot as a test artefact."""
    (ROOT / "artefacts").mkdir(exist_ok=True)
    page.screenshot(path=ROOT / "artefacts" / f"{name}.png", full_page=True)


def label_of(example: Path, backbone: str = "efficientnet_lite0") -> str:
    """Return the label that a bundled backbone puts first; what has a class is called as WordNet calls it."""
    if example.stem == "owl":  # ImageNet has no class for this owl
        return {"efficientnet_lite0": "house finch", "efficientnet_lite2": "great grey owl"}[backbone]
    return LABELS.get(example.stem, example.stem.replace("_", " "))


def click_example(page: Page, example: Path) -> None:
    page.locator("#examples button.thumbnail-item").nth(EXAMPLES.index(example)).click()


def choose(page: Page, backbone: str) -> None:
    page.locator("#backbone input").click()
    page.locator("[role=option]", has_text=backbone).first.click()


def show_labels(page: Page, count: int) -> None:
    number = page.locator("#top-k input[type=number]")
    number.fill(str(count))
    number.press("Enter")

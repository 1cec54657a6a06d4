"""User actions on the page, for the browser tests and the benchmarks."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import reference
from playwright.sync_api import Browser, Page, Route, expect
from reference import BACKBONES, EXAMPLES
from serving import ROOT

FIRST = "#result .lu-first .lu-label"
LABELS_WITHOUT_CLASS = {  # first labels of the two bundled backbones where ImageNet has no class
    "kingfisher": ("jacamar", "jacamar"),
    "owl": ("house finch", "great grey owl"),
}


def copy_examples(root: Path, labels: Mapping[str, Sequence[str]]) -> Path:
    """Copy examples into a folder for each label, and return the folder of all."""
    for label, names in labels.items():
        (root / label).mkdir(parents=True)
        for name in names:
            shutil.copy(ROOT / "examples" / f"{name}.jpg", root / label)
    return root


def opened_page(browser: Browser, url: str, dropdown: str, width: int = 1280, theme: str = "light") -> Iterator[Page]:
    """Yield a page beside the first one, once its dropdown of backbones is filled; it must log no error."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{url}{'&' if '?' in url else '?'}__theme={theme}")
    expect(page.locator(dropdown)).to_contain_text("efficientnet_lite2", timeout=60_000)
    yield page
    context.close()
    assert errors == []


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


def drag(page: Page, files=(), items=(), onto: str = "#image", until: str = "drop") -> None:
    """Drag files, or items such as ``{"mimeType": "text/plain", "data": "…"}``, as a user does from another program."""
    target = page.locator(onto).first
    target.scroll_into_view_if_needed()
    box, browser = target.bounding_box(), page.context.new_cdp_session(page)
    data = {"items": list(items), "files": [str(file) for file in files], "dragOperationsMask": 1}
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + min(box["height"], 100) / 2}
    for kind in ("dragEnter", "dragOver", until):
        browser.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})
    browser.detach()


def show_labels(page: Page, count: int) -> None:
    number = page.locator("#top-k input[type=number]")
    number.fill(str(count))
    number.press("Enter")


@contextmanager
def holding(page: Page, pattern: str) -> Iterator[None]:
    """Hold the requests of the block until its end, so that none is answered before, however slow the machine is."""
    held: list[Route] | None = []

    def hold(route: Route) -> None:
        if held is None:  # it came at the end
            route.continue_()
        else:
            held.append(route)

    page.route(pattern, hold)
    yield
    requests, held = held, None
    for route in requests:
        route.continue_()
    page.unroute(pattern, hold)


QUIET = """async () => {
  const pause = () => new Promise((done) => setTimeout(done, 50));
  for (let quiet = 0; quiet < 10; quiet = lineupRequests.isIdle() ? quiet + 1 : 0) await pause();
}"""


def settle(page: Page) -> None:
    """Wait until the page has no request under way, and none follows."""
    page.evaluate(QUIET)

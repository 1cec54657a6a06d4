"""Measures from the click on an example to its label on the page, in a real browser, with no Hub in reach.

Serves the shipped config, clicks each example with each bundled backbone, and prints the milliseconds
until the right label stands first: median and slowest. Needs Chromium on PATH.

    python benchmarks/clicks.py
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from serving import caches, free_port, serving  # noqa: E402

BACKBONES = ("tiny_resnet", "tiny_vit")
FIRST = "#result .lu-first .lu-label"


def main() -> None:
    """Measure, and print a row for each backbone."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        nobody = f"http://127.0.0.1:{free_port()}"
        env = {**os.environ, **caches(home), "HF_ENDPOINT": nobody, "GRADIO_TEMP_DIR": str(home / "uploads")}
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with serving(ROOT / "config.yaml", env, home / "log.txt") as app:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(app.url)
            page.locator("#notice .lu-notice").wait_for(timeout=90_000)
            for backbone in BACKBONES:
                took = _clicks(page, backbone)
                print(f"{backbone}: median {statistics.median(took):.0f} ms, slowest {max(took):.0f} ms of {len(took)}")
        browser.close()


def _clicks(page: Page, backbone: str) -> list[float]:
    page.locator("#backbone input").click()
    page.locator("[role=option]", has_text=backbone).first.click()
    page.locator("#status", has_text=f"{backbone} is ready").wait_for()
    took = []
    for index, example in enumerate(sorted((ROOT / "examples").glob("*.jpg"))):
        label = example.stem.replace("_", " ").replace("jack o lantern", "jack-o'-lantern")
        started = time.perf_counter()
        page.locator("#examples button.thumbnail-item").nth(index).click()
        page.locator(FIRST, has_text=label).wait_for(timeout=30_000)
        took.append((time.perf_counter() - started) * 1e3)
    page.get_by_label("Remove Image").click()
    page.locator("#result .lu-card").wait_for(state="detached")
    return took


if __name__ == "__main__":
    main()

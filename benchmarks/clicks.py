"""Measures the time from a click on an example to its label on the page, in a real browser and without the Hub.

Serves the shipped config, clicks each example with each bundled backbone, and prints the median and the maximum of
the milliseconds until the expected label is displayed first. Requires Chromium on PATH.

    python benchmarks/clicks.py
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "browser")]

from page_actions import FIRST, choose, click_example
from reference import BACKBONES, EXAMPLES, read_answers
from serving import serving, without_hub

from lineup.registry.wordnet import wordnet

ANSWERS = read_answers()


def main() -> None:
    """Print the latencies of each backbone."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with serving(ROOT / "config.yaml", without_hub(home), home / "log.txt") as app:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(app.url)
            page.locator("#notice .lu-notice").wait_for(timeout=90_000)
            for backbone in BACKBONES:
                times = _click_latencies(page, backbone)
                median, slowest = statistics.median(times), max(times)
                print(f"{backbone}: median {median:.0f} ms, max {slowest:.0f} ms, {len(times)} clicks")
        browser.close()


def _click_latencies(page: Page, backbone: str) -> list[float]:
    """Return the milliseconds from the click to the label for each example."""
    choose(page, backbone)
    page.locator("#status", has_text=f"{backbone} is ready").wait_for()
    times = []
    for example in EXAMPLES:
        label = wordnet().label(ANSWERS[backbone][example.stem][0][0]).name
        started = time.perf_counter()
        click_example(page, example)
        page.locator(FIRST, has_text=label).wait_for(timeout=30_000)
        times.append((time.perf_counter() - started) * 1e3)
    page.get_by_label("Remove Image").click()
    page.locator("#result .lu-card").wait_for(state="detached")
    return times


if __name__ == "__main__":
    main()

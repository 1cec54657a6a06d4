"""Take the README's screenshot: the bundled backbones on one photograph, in Chromium, without the Hub.

Below the cards is the plot of published accuracy against measured latency. Writes docs/compare.jpg.
Needs Chromium on PATH.

    python docs/screenshot.py
"""

import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "browser")]

from reference import EXAMPLES, label_of  # noqa: E402
from serving import serving, without_hub  # noqa: E402
from visiting import click_example  # noqa: E402

CONFIG = f"""
description: One YAML file becomes this page. Yours names your backbones.
backbones:
  - {{name: efficientnet_lite0, backbone: "local-dir:{ROOT}/bundled/efficientnet_lite0"}}
  - {{name: efficientnet_lite2, backbone: "local-dir:{ROOT}/bundled/efficientnet_lite2"}}
examples: {ROOT}/examples
"""
SHOWN = "red_panda"
WARM_UP = ("koala", "macaw", "viaduct", "hen", "stupa")
QUALITY = 88
SPACE_PX = 14  # below the cards, and around the plot


def main() -> None:
    """Serve, compare, measure, and save the image."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        (home / "config.yaml").write_text(CONFIG, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with serving(home / "config.yaml", without_hub(home), home / "log.txt") as app:
            page = browser.new_page(viewport={"width": 1280, "height": 1900}, color_scheme="light")
            page.goto(f"{app.url}?__theme=light")
            parts = [_compared(page), _measured(page)]
        browser.close()
    screenshot = Image.new("RGB", (1280, sum(part.height for part in parts)), "white")
    screenshot.paste(parts[0], (0, 0))
    screenshot.paste(parts[1], (0, parts[0].height))
    screenshot.save(ROOT / "docs" / "compare.jpg", quality=QUALITY, optimize=True)


def _compared(page: Page) -> Image.Image:
    expect(page.locator("#status")).to_contain_text("is ready", timeout=90_000)
    page.locator("#compare-all").click()
    expect(page.locator("#result .lu-verdict")).to_be_visible(timeout=60_000)
    page.wait_for_timeout(15_000)  # OpenVINO takes over
    for name in (*WARM_UP, SHOWN):  # the first forward passes are slow
        click_example(page, next(path for path in EXAMPLES if path.stem == name))
        expect(page.locator("#result .lu-verdict")).to_contain_text(label_of(name), timeout=60_000)
    page.wait_for_timeout(1000)  # after the animation of the bars
    page.mouse.move(0, 0)
    cards = page.locator("#result article").first.bounding_box()
    assert cards
    return _shot(page, 0, cards["y"] + cards["height"])


def _measured(page: Page) -> Image.Image:
    page.locator("#measured-here > button").click()
    page.locator("#measure").click()
    expect(page.locator("#measured")).to_have_text(re.compile(r"[12] measured"), timeout=60_000)
    page.wait_for_timeout(1000)
    plot = page.locator("#plot").bounding_box()
    assert plot
    return _shot(page, plot["y"], plot["height"])


def _shot(page: Page, top: float, height: float) -> Image.Image:
    clip = {"x": 0, "y": round(top), "width": 1280, "height": round(height) + SPACE_PX}
    return Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=True))).convert("RGB")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

"""Takes the README's picture: the bundled backbones compare an example, in a real browser, with no Hub in reach.

Writes docs/compare.png. Needs Chromium on PATH.

    python docs/screenshot.py
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "browser")]

from serving import serving, without_hub  # noqa: E402
from visiting import EXAMPLES, choose, click_example  # noqa: E402

SHOWN = EXAMPLES[:8]  # two rows
CONFIG = f"""
description: One YAML file becomes this page. Yours names your backbones.
backbones:
  - {{name: tiny_resnet, backbone: "local-dir:{ROOT}/bundled/tiny_resnet"}}
  - {{name: tiny_vit, backbone: "local-dir:{ROOT}/bundled/tiny_vit"}}
examples: [{", ".join(map(str, SHOWN))}]
engine: torch
"""
STEPS = 63  # of each colour: two thirds of the bytes that 255 take, and nobody sees it
SPACE_PX = 12  # below the cards


def main() -> None:
    """Serve, compare, and keep the picture."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        (home / "config.yaml").write_text(CONFIG, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with serving(home / "config.yaml", without_hub(home), home / "log.txt") as app:
            page = browser.new_page(viewport={"width": 1280, "height": 1100}, color_scheme="light")
            page.goto(f"{app.url}?__theme=light")
            shot = _compared(page)
        browser.close()
    coarse = shot.point(lambda value: round(round(value * STEPS / 255) * 255 / STEPS))
    coarse.save(ROOT / "docs" / "compare.png", optimize=True)


def _compared(page: Page) -> Image.Image:
    expect(page.locator("#status")).to_contain_text("is ready", timeout=90_000)
    choose(page, "tiny_resnet")
    page.locator("#others input").click()
    page.locator("[role=option]", has_text="tiny_vit").first.click()
    page.keyboard.press("Escape")
    for name in ("balloon", "candle"):  # the first answers of a start are slow
        click_example(page, next(path for path in SHOWN if path.stem == name))
        expect(page.locator("#result .lu-verdict")).to_contain_text(f"Both say {name}", timeout=60_000)
        page.wait_for_timeout(1000)  # the bars have grown
    page.mouse.move(0, 0)
    cards = page.locator("#result article").first.bounding_box()
    assert cards
    clip = {"x": 0, "y": 0, "width": 1280, "height": round(cards["y"] + cards["height"]) + SPACE_PX}
    return Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

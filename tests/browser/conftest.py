"""A real Chromium on the shipped page with no Hub in reach; screenshots go to artefacts/."""

import os
import shutil
import subprocess
import sys

import pytest
from playwright.sync_api import sync_playwright
from serving import ROOT, serving, without_hub

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def chromium() -> str | None:
    """Return Chromium's path: from PATH, else installed from Debian's packages, else None for Playwright's own."""
    if not _on_path() and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=False, stdout=subprocess.DEVNULL)
    if not _on_path():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)
    return _on_path()


def _on_path() -> str | None:
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


@pytest.fixture(scope="module")
def browser():  # no longer than its module: while Playwright runs, nobody else can start an event loop
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Serve the shipped config as a newcomer without a network gets it."""
    home = tmp_path_factory.mktemp("browser")
    with serving(ROOT / "config.yaml", without_hub(home), home / "log.txt") as app:
        yield app.url


@pytest.fixture
def page(browser, address):
    """Open the page on a desktop, in light colours."""
    yield from opened(browser, address)


@pytest.fixture
def other(browser, address):
    """Open the page once more, as another visitor."""
    yield from opened(browser, address)


@pytest.fixture
def phone(browser, address):
    """Open the page on a phone, in dark colours."""
    yield from opened(browser, address, width=390, height=844, theme="dark")


def opened(browser, address: str, width: int = 1280, height: int = 900, theme: str = "light"):
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    shown = context.new_page()
    errors: list[str] = []
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.goto(f"{address}?__theme={theme}")
    shown.locator("#notice .lu-notice").wait_for(timeout=60_000)  # the start is over: a stand-in is selected
    yield shown
    context.close()
    assert errors == []

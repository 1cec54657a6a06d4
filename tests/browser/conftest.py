"""Chromium on the shipped page while the Hub is unreachable; screenshots go to artefacts/."""

import os
import shutil
import subprocess
import sys

import pytest
from playwright.sync_api import sync_playwright
from serving import ROOT, serving, without_hub

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def chromium() -> str | None:
    """Return the path of Chromium: on PATH, else installed with apt, else None for the one of Playwright."""
    if not _on_path() and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=False, stdout=subprocess.DEVNULL)
    if not _on_path():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)
    return _on_path()


def _on_path() -> str | None:
    paths = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in paths if path), None)


@pytest.fixture(scope="module")
def browser():  # module scope: while sync Playwright runs, no other event loop can start in this thread
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield chrome
        chrome.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Serve the shipped config with empty caches and no network."""
    home = tmp_path_factory.mktemp("browser")
    with serving(ROOT / "config.yaml", without_hub(home), home / "log.txt") as app:
        yield app.url


@pytest.fixture
def page(browser, address):
    """Open the page on a desktop in light mode."""
    yield from opened(browser, address)


@pytest.fixture
def other(browser, address):
    """Open the page in a second session."""
    yield from opened(browser, address)


@pytest.fixture
def phone(browser, address):
    """Open the page on a phone in dark mode."""
    yield from opened(browser, address, width=390, height=844, theme="dark")


def opened(browser, address: str, width: int = 1280, height: int = 900, theme: str = "light"):
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(f"{address}?__theme={theme}")
    tab.locator("#notice .lu-notice").wait_for(timeout=60_000)  # started: the fallback is selected
    yield tab
    context.close()
    assert errors == []

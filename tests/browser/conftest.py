"""Chromium on the shipped page while the Hub is unreachable; screenshots go to artefacts/."""

import pytest
from long_names import write_config
from playwright.sync_api import expect, sync_playwright
from programs import program
from serving import ROOT, serving, without_hub

expect.set_options(timeout=60_000)  # a slow machine with others beside it takes its time for each answer
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser():  # module scope: while sync Playwright runs, no other event loop can start in this thread
    with sync_playwright() as playwright:
        path = program("chromium", "chromium-browser", "google-chrome")
        chrome = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chrome
        chrome.close()


@pytest.fixture(scope="package")
def address(tmp_path_factory):
    """Serve the shipped config with empty caches and no network."""
    home = tmp_path_factory.mktemp("browser")
    with serving(ROOT / "config.yaml", without_hub(home), home / "log.txt") as app:
        yield app.url


@pytest.fixture(scope="package")
def long_names_address(tmp_path_factory):
    """Serve backbones with the longest names and labels; shared by the modules that need them."""
    home = tmp_path_factory.mktemp("long_names")
    with serving(write_config(home), without_hub(home), home / "log.txt") as app:
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
    """Open the page in a context of its own; one that no test uses has the scripts in its cache, and is used again."""
    unused = (each for each in browser.contexts if not each.pages)
    context = next(unused, None) or browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    tab = context.new_page()
    tab.set_viewport_size({"width": width, "height": height})
    tab.emulate_media(color_scheme=theme)
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(f"{address}?__theme={theme}")
    tab.locator("#notice .lu-notice").wait_for(timeout=240_000)  # started: the fallback is selected
    yield tab
    for each in context.pages:
        each.close()
    context.clear_cookies()
    context.clear_permissions()
    assert errors == []

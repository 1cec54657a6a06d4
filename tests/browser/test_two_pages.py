"""An image that is passed from a page of a feature to the first page, in a browser."""

import re

import pytest
from page_actions import EXAMPLES, FIRST, drag, label_of, settle
from playwright.sync_api import expect
from serving import ROOT, serving, without_hub


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    home = tmp_path_factory.mktemp("two_pages")
    with serving(ROOT / "config.yaml", without_hub(home), home / "log.txt", script="tests/support/two_pages.py") as app:
        yield app.url


def test_link_opens_the_image_for_its_owner_only(browser, address):
    owner, other = browser.new_context(), browser.new_context()
    tab = owner.new_page()
    tab.goto(f"{address}second")
    tab.locator("#second-image input[type=file]").set_input_files(EXAMPLES[0])
    link = tab.locator("#second-link a")
    link.wait_for(timeout=30_000)
    path = link.get_attribute("href")
    assert re.fullmatch(r"/\?image=[\w-]{22,}", path)
    tab.goto(address.rstrip("/") + path)
    expect(tab.locator(FIRST)).to_have_text(label_of(EXAMPLES[0]))

    stranger = other.new_page()
    stranger.goto(address.rstrip("/") + path)
    expect(stranger.locator("#notice")).to_contain_text("expected an image of this browser; this link has none")
    expect(stranger.locator(FIRST)).to_have_count(0)
    stranger.goto(f"{address}second")  # the page of a feature: its own field takes the drop
    stranger.locator("#second-image button").first.wait_for()
    settle(stranger)  # what is still loading would move the field from under the drop
    drag(stranger, [EXAMPLES[0]], onto="#second-image button")
    expect(stranger.locator("#second-link a")).to_be_visible()
    owner.close()
    other.close()

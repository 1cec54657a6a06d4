"""The owner's page in a browser: signs in, reviews by keys, clicks and in bulk, and is usable by all."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from page_actions import screenshot
from PIL import Image
from playwright.sync_api import Page, expect
from serving import ROOT, serving, without_hub

from lineup.config import Feedback
from lineup.features.feedback.collection import Collection
from lineup.features.feedback.records import Said
from lineup.features.feedback.review import Review

TOKEN = "a-secret-of-the-owner"
GIVEN = [*["castle"] * 4, "hen", "hen", "koala"]
OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder of a collection: backbones and visitors disagree on the castles alone."""
    folder = tmp_path_factory.mktemp("feedback") / "kept"
    collection = Collection(folder, Feedback(to=str(folder)))
    for number, label in enumerate(GIVEN):
        image = Image.new("RGB", (320, 240), (40 * number, 90, 255 - 40 * number))
        collection.add(image, label, [Said("lite0", "", label.replace("castle", "palace"), 0.5)], "a visitor")
    return folder


@pytest.fixture(scope="module")
def address(root, tmp_path_factory):
    home = tmp_path_factory.mktemp("owner")
    config = home / "config.yaml"
    config.write_text(f"backbones: ['local-dir:{ROOT}/bundled/efficientnet_lite0']\nfeedback: {{to: '{root}'}}\n")
    env = {**without_hub(home), "LINEUP_OWNER_TOKEN": TOKEN}
    with serving(config, env, home / "log.txt") as app:
        yield app.url
        assert TOKEN not in app.log.read_text()


def opened(browser, address, width, height, theme):
    """Open the sign-in page; nothing may be blocked by the policy, or fail."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    tab, problems = context.new_page(), []
    tab.on("console", lambda message: problems.append(message.text) if "policy" in message.text.lower() else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: None if request.url.startswith(address) else problems.append(request.url))
    tab.goto(f"{address}owner")
    expect(tab).to_have_url(f"{address}owner/sign-in")
    yield tab
    context.close()
    assert problems == []


@pytest.fixture
def tab(browser, address):
    yield from opened(browser, address, 1280, 900, "light")


@pytest.fixture
def phone(browser, address):
    yield from opened(browser, address, 390, 844, "dark")


def violations(tab: Page) -> list[str]:
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(tab, "body", OPTIONS).response["violations"]
    return [f"{rule['id']}: {node['html'][:150]}" for rule in found for node in rule["nodes"]]


def sign_in(tab: Page, token: str = TOKEN) -> None:
    tab.get_by_label("Token").fill(token)
    tab.keyboard.press("Enter")


def accepted(root) -> list[str]:
    return sorted(path.parent.name for path in (root / "accepted").rglob("*.jpg"))


def test_every_view_is_accessible_on_a_phone_in_the_dark(phone, address):
    sign_in(phone, "wrong")
    expect(phone.get_by_role("alert")).to_contain_text("not the value of LINEUP_OWNER_TOKEN")
    assert violations(phone) == []
    sign_in(phone)
    expect(phone.locator(".lu-pick")).to_have_count(len(GIVEN))
    phone.locator(".lu-pick input").first.check()
    expect(phone.locator(".lu-bar-count")).to_have_text("1 of 7 selected")
    assert violations(phone) == []
    screenshot(phone, "owner_phone")
    phone.locator(".lu-bar").get_by_role("button", name="Label").click()
    assert violations(phone) == []
    phone.keyboard.press("Escape")
    phone.get_by_role("link", name="Corrections").click()
    expect(phone.locator("main")).to_contain_text("visitors who chose to click")
    assert violations(phone) == []
    phone.get_by_role("button", name="Sign out").click()
    phone.goto(f"{address}owner")
    expect(phone).to_have_url(f"{address}owner/sign-in")


def test_owner_reviews_by_keys_clicks_and_rows(tab, root):
    sign_in(tab)
    picks, count = tab.locator(".lu-pick input"), tab.locator(".lu-bar-count")
    expect(tab.locator(".lu-row h3")).to_have_text(["castle", "hen", "koala"])
    expect(tab.locator(".lu-pick img").first).to_have_js_property("naturalWidth", 320)
    assert violations(tab) == []
    screenshot(tab, "owner")

    tab.keyboard.press("j")
    expect(picks.first).to_be_focused()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Space")
    expect(count).to_have_text("1 of 7 selected")
    tab.keyboard.press("?")
    expect(tab.get_by_role("dialog")).to_contain_text("next and previous image")
    tab.keyboard.press("Escape")
    tab.keyboard.press("a")
    expect(picks).to_have_count(6)
    assert accepted(root) == ["castle"]

    picks.nth(0).click()
    picks.nth(2).click(modifiers=["Shift"])
    expect(count).to_have_text("3 of 6 selected")
    tab.keyboard.press("c")
    tab.get_by_role("combobox").fill("pala")
    expect(tab.get_by_role("option").first).to_have_text("palace")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("combobox")).to_have_value("palace")
    tab.keyboard.press("Enter")
    expect(picks).to_have_count(3)
    expect(tab.locator(".lu-part")).to_have_text(["Backbones and visitors agree"])
    assert accepted(root) == ["castle", "palace", "palace", "palace"]

    hens = tab.locator(".lu-row", has_text="hen")
    hens.get_by_role("button", name="Reject").click()
    expect(tab.get_by_role("dialog")).to_contain_text("Reject 2 images?")
    tab.get_by_role("button", name="Cancel").click()
    expect(picks).to_have_count(3)
    hens.get_by_role("button", name="Reject").click()
    tab.get_by_role("dialog").get_by_role("button", name="Reject").click()
    expect(picks).to_have_count(1)
    tab.get_by_role("button", name="Select all").click()
    tab.locator(".lu-bar").get_by_role("button", name="Accept").click()
    expect(tab.locator("main")).to_contain_text("All images were reviewed: 5 are accepted.")
    assert accepted(root) == ["castle", "koala", "palace", "palace", "palace"]
    stats = Review(Collection(root, Feedback(to=str(root)))).stats()
    assert (stats.n_pending, stats.n_accepted, stats.n_rejected) == (0, 5, 2)

    tab.get_by_role("link", name="Accepted").click()
    tab.get_by_role("button", name="Copy").first.click()
    expect(tab.get_by_role("button", name="Copied").or_(tab.get_by_role("button", name="Selected"))).to_be_visible()
    assert violations(tab) == []

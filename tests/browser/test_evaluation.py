"""The page of evaluations: from a folder to a verdict, and back to it by its address."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from page_actions import copy_examples, opened_page, screenshot
from playwright.sync_api import Page, expect

LABELS = {
    "bear": ["giant_panda", "koala", "polar_bear"],
    "bird": ["hen", "kingfisher", "macaw"],
    "castle": ["castle"],
    "crane": ["owl"],  # the bird, or the device?
    "giraffe": ["red_panda"],  # ImageNet has no such class
    "dome": ["stupa"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of examples, sorted by label."""
    return copy_examples(tmp_path_factory.mktemp("evaluation") / "zoo", LABELS)


@pytest.fixture
def tab(browser, address):
    yield from opened(browser, f"{address}evaluate")


def opened(browser, url: str, width: int = 1280, theme: str = "light"):
    return opened_page(browser, url, "#evaluated", width, theme)


def violations(page: Page) -> list[str]:
    """Return what axe finds in the parts of this page, without Gradio's own components."""
    parts = ("#zone", "#mapping", "#evaluation-status", "#verdict", "#downloads")
    shown = [part for part in parts if page.locator(part).count()]
    found = Axe().run(page, {"include": [[part] for part in shown]}).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]


def test_backbone_can_be_removed_before_there_are_images(tab, folder):
    tab.get_by_role("button", name="Remove efficientnet_lite2").click()
    tab.locator("[data-input=folder]").set_input_files(folder)
    expect(tab.locator("#start")).to_have_text("Evaluate 10 images with 1 backbone")
    expect(tab.locator("#evaluated .token")).to_have_text(["efficientnet_lite0"])


def test_folder_gets_a_verdict_that_its_address_finds_again(browser, address, tab, folder):
    tab.locator("[data-input=folder]").set_input_files(folder)
    expect(tab.locator("#mapping h2")).to_have_text("10 images, 6 labels in zoo")
    rows = tab.locator(".lu-meaning")
    expect(rows.first).to_contain_text("crane")  # what is asked comes first
    expect(rows.filter(has_text="giraffe")).to_contain_text("not scored")
    assert violations(tab) == []
    crane = tab.get_by_label("What crane means")
    [bird] = [text for text in crane.locator("option").all_inner_texts() if "wading bird" in text]
    crane.select_option(label=bird)
    expect(rows.first).to_contain_text("giraffe")
    expect(crane).to_be_focused()
    tab.get_by_role("button", name="Evaluate 10 images with 2 backbones").click()
    expect(tab.locator("#verdict h2")).to_contain_text("Take efficientnet")
    expect(tab.locator("#verdict .lu-sentence")).to_contain_text(re.compile(r"right on \d of 9"))
    expect(tab).to_have_url(re.compile("run="))
    assert violations(tab) == []
    screenshot(tab, "evaluation")

    tab.get_by_label("the best of all classes").check()
    expect(tab.locator(".lu-files a").first).to_have_attribute("href", re.compile("scoring=anywhere"))
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Report one HTML file").click()
    assert "Take efficientnet" in download.value.path().read_text(encoding="utf-8")

    for phone in opened(browser, tab.url.replace("__theme=light", ""), width=390, theme="dark"):
        expect(phone.locator("#verdict h2")).to_contain_text("Take efficientnet")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        assert violations(phone) == []
        phone.locator(".lu-meanings > summary").click()
        expect(phone.get_by_label("What crane means")).to_contain_text("wading bird")
        screenshot(phone, "evaluation-phone")
        phone.get_by_role("button", name="Delete").click()
        expect(phone.locator("#evaluation-status")).to_contain_text("no longer on this server")
        expect(phone).not_to_have_url(re.compile("run="))
    tab.reload()
    expect(tab.locator("#evaluation-status")).to_contain_text("has no such evaluation")


def test_dropped_folder_is_uploaded_with_its_labels(tab, folder):
    box = tab.locator(".lu-zone").bounding_box()
    point = {"x": box["x"] + 20, "y": box["y"] + 20}
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    session = tab.context.new_cdp_session(tab)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "data": data, **point})
    expect(tab.locator("#mapping h2")).to_have_text("10 images, 6 labels in zoo")


def test_first_page_links_to_evaluations(page):
    page.get_by_role("link", name="Compare them on a folder of your images").click()
    expect(page.locator(".lu-zone")).to_be_visible()
    page.get_by_role("link", name="Classify a single image").click()
    expect(page.locator("#image")).to_be_visible()

"""What there is to look at below a verdict: labelling by keys, filters, and the way to the first page."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from drawing import draw
from page_actions import FIRST, screenshot
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images without labels, on which the backbones differ."""
    root = tmp_path_factory.mktemp("exploring") / "shapes"
    root.mkdir()
    for index in range(8):
        draw(root / f"{index}.jpg", seed=index)
    return root


def violations(tab) -> list[str]:
    found = Axe().run(tab, {"include": [["#labelling"], ["#gallery"]]}).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]


def test_images_are_labelled_by_keys_and_opened_on_the_first_page(browser, address, folder):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(f"{address}evaluate")
    expect(tab.locator("#evaluated")).to_contain_text("efficientnet_lite2")
    tab.locator("[data-input=folder]").set_input_files(folder)
    tab.get_by_role("button", name="Evaluate 8 images with 2 backbones").click()
    section, steps = tab.locator(".lu-labelling"), tab.locator(".lu-steps span")
    expect(steps).to_have_text(re.compile(r"0 of \d"))
    assert violations(tab) == []
    screenshot(tab, "labelling")

    tab.keyboard.press("1")  # outside: nothing happens
    first = section.get_attribute("data-image")
    section.focus()
    tab.keyboard.press("1")
    expect(steps).to_have_text(re.compile(r"1 of \d"))
    expect(section).to_be_focused()
    second = section.get_attribute("data-image")
    assert second != first
    tab.keyboard.press("l")
    expect(steps).to_contain_text("1 for later")
    tab.keyboard.press("u")
    expect(section).to_have_attribute("data-image", second)
    tab.keyboard.press("Shift+Digit1")
    tab.keyboard.press("Digit2")
    expect(section.locator("[data-key][aria-pressed=true]")).to_have_count(2)
    tab.keyboard.press("Enter")
    expect(steps).to_have_text(re.compile(r"2 of \d"))
    tab.keyboard.press("0")
    expect(steps).to_have_text(re.compile(r"3 of \d"))
    tab.reload()
    expect(steps).to_have_text(re.compile(r"3 of \d"))

    tab.locator("#kind input").click()
    tab.get_by_role("option", name="The backbones differ").click()
    expect(tab.locator(".lu-count")).to_contain_text("The backbones differ")
    image = tab.locator(".lu-shot img").first
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0
    said = tab.locator(".lu-shot").first.locator(".lu-answer").first.inner_text()
    tab.locator(".lu-shot button").first.focus()
    with context.expect_page() as opened:
        tab.keyboard.press("Enter")
    assert re.search(r"/\?image=[\w-]{22}", opened.value.url)
    label = opened.value.locator(FIRST)
    expect(label).to_be_visible()
    assert label.inner_text() in said
    context.close()
    assert errors == []

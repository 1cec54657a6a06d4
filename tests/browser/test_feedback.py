"""Answers to the question below an answer, in the browser: by keyboard, on a phone, and until they are accepted."""

import json
import re

import datasets
import pytest
import torchvision
from gradio_client import Client, handle_file
from page_actions import choose, screenshot
from PIL import Image
from playwright.sync_api import expect
from serving import ROOT, serving, without_hub

TOKEN = "a-secret-of-the-owner"
CONFIG = """
backbones:
  - {{name: lite0, backbone: "local-dir:{root}/bundled/efficientnet_lite0"}}
  - {{name: lite2, backbone: "local-dir:{root}/bundled/efficientnet_lite2"}}
engine: torch
examples: {root}/examples
feedback: {{to: {kept}, per_visitor: 5}}
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "feedback"


@pytest.fixture(scope="module")
def address(tmp_path_factory, kept):
    home = tmp_path_factory.mktemp("asking")
    (home / "config.yaml").write_text(CONFIG.format(root=ROOT, kept=kept))
    env = {**without_hub(home), "LINEUP_OWNER_TOKEN": TOKEN}
    with serving(home / "config.yaml", env, home / "log.txt") as app:
        yield app.url


def opened(browser, address, width, theme):
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=theme)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}?__theme={theme}")
    expect(page.locator("#status")).to_contain_text("lite0")
    yield page
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def tab(browser, address):
    """Return a page on a desktop that the tests share."""
    yield from opened(browser, address, 1280, "light")


@pytest.fixture
def phone(browser, address):
    yield from opened(browser, address, 390, "dark")


def ask(page, example):
    page.set_input_files("#image input[type=file]", ROOT / "examples" / f"{example}.jpg")
    expect(question(page)).to_contain_text("right?")


def question(page):
    return page.locator("#feedback .lu-feedback")


def images(kept):
    return sorted(path.relative_to(kept).parts[:2] for path in kept.rglob("*.jpg"))


def rows(kept):
    """Return the answers, each once: those to accepted images are in two files."""
    lines = [json.loads(line) for path in kept.rglob("answers*.jsonl") for line in path.read_text().splitlines()]
    return list({line["key"]: line for line in lines}.values())


def test_answer_is_corrected_by_keyboard(tab, kept):
    ask(tab, "castle")
    screenshot(tab, "feedback-question")
    assert not kept.exists()
    tab.locator("[data-act=right]").focus()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    field, options = tab.get_by_role("combobox", name="It is"), tab.locator("#feedback-classes li")
    expect(field).to_be_focused()
    field.press_sequentially("tri")
    expect(options.first).to_have_text(re.compile("trilobite|trifle|tripod"))
    tab.keyboard.press("Escape")
    expect(field).to_be_hidden()
    expect(tab.locator("[data-act=other]")).to_be_focused()
    tab.keyboard.press("Enter")
    field.press_sequentially("palac")
    expect(options.first).to_contain_text("palace")
    tab.keyboard.press("ArrowDown")
    expect(field).to_have_value("palace")
    expect(field).to_have_attribute("aria-activedescendant", "feedback-class-0")
    screenshot(tab, "feedback-field")
    tab.keyboard.press("Enter")
    expect(question(tab)).to_contain_text("Thank you. Recorded: it is “palace”, not “castle”.")
    expect(tab.locator("#announcer")).to_have_text("Thank you. Recorded: it is “palace”, not “castle”.")
    expect(question(tab)).to_be_focused()
    tab.locator("#top-k input[type=number]").fill("5")
    tab.keyboard.press("Enter")
    expect(tab.locator("#result .lu-bars li")).to_have_count(5)
    expect(question(tab)).to_contain_text("Thank you.")
    assert images(kept) == [("unreviewed", "palace")]
    assert re.fullmatch("[0-9a-f]{64}", rows(kept)[0]["said"][0]["fingerprint"])


def test_comparison_is_answered_once_on_a_phone(phone, kept):
    choose(phone, "lite2")
    phone.locator("#others input").click()
    phone.locator("[role=option]", has_text="lite0").first.click()
    phone.keyboard.press("Escape")
    ask(phone, "hen")
    expect(question(phone)).to_contain_text("Is “hen” right? both backbones say so; answer once for the image.")
    n_before = len(rows(kept))
    phone.locator("[data-act=right]").dblclick()
    expect(question(phone)).to_contain_text("Recorded: it is “hen”, as both backbones say.")
    screenshot(phone, "feedback-phone")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert [[each["backbone"] for each in row["said"]] for row in rows(kept)[n_before:]] == [["lite2", "lite0"]]


def test_accepted_correction_is_read_by_datasets_and_torchvision(tab, address, kept):
    ask(tab, "owl")
    tab.locator("[data-act=other]").click()
    tab.locator("#feedback-label").fill("boreal owl")
    tab.keyboard.press("Enter")
    expect(question(tab)).to_contain_text("Thank you. Recorded: it is “boreal owl”")
    owner = tab.context.new_page()
    owner.goto(f"{address}owner")
    owner.get_by_label("Token").fill(TOKEN)
    owner.keyboard.press("Enter")
    row = owner.locator(".lu-row", has_text="boreal owl")
    row.get_by_role("button", name="Accept").click()
    expect(row).to_have_count(0)
    owner.close()

    accepted = kept / "accepted"
    rows = datasets.load_dataset("imagefolder", data_dir=str(accepted), split="train", cache_dir=str(kept / "cache"))
    [found] = [row for row in rows if row["label"] == "boreal owl"]
    folder = torchvision.datasets.ImageFolder(str(accepted))
    assert "boreal owl" in folder.classes
    [image] = [image for image, index in folder if folder.classes[index] == "boreal owl"]
    assert found["image"].size == image.size == Image.open(ROOT / "examples" / "owl.jpg").size


def test_refusal_is_shown_in_place_and_the_text_stays(tab, address, kept):
    client = Client(address, verbose=False)
    image = handle_file(ROOT / "examples" / "koala.jpg")
    answer = client.predict(image, "bear", "lite2", api_name="/feedback")
    assert (answer["said"], answer["sentence"]) == ("koala", "Recorded: it is “bear”, not “koala”.")
    assert ("unreviewed", "bear") in images(kept)
    while len(rows(kept)) < 5:
        client.predict(image, "bear", None, api_name="/feedback")
    assert "feedback" not in json.dumps(client.view_api(return_format="dict", print_info=False))
    ask(tab, "macaw")
    tab.locator("[data-act=other]").click()
    tab.locator("#feedback-label").fill("a red bird")
    tab.locator("[data-act=send]").click()
    expect(question(tab)).to_contain_text("Not recorded. Today's are given; try again tomorrow.")
    expect(tab.locator("#feedback-label")).to_have_value("a red bird")
    expect(tab.locator("#announcer")).to_have_text("Not recorded. Today's are given; try again tomorrow.")
    screenshot(tab, "feedback-refused")
    assert len(rows(kept)) == 5

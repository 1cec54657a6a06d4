"""The page of a user's own classes: collected, trained, tried, taken away, and trained again with one more."""

import base64
import re
import zipfile

import conftest
import pytest
from axe_playwright_python.sync_playwright import Axe
from page_actions import EXAMPLES, click_example, copy_examples, drag, holding, opened_page, screenshot
from playwright.sync_api import Page, expect, sync_playwright
from programs import program
from serving import ROOT, serving, without_hub
from test_accessibility import LOW_CONTRAST, OPTIONS, tab_to

TIMEOUT_MS = 60_000
CLASSES = {
    "bear": ["giant_panda", "koala", "polar_bear", "red_panda"],
    "bird": ["hen", "kingfisher", "macaw", "owl"],
    "building": ["castle", "stupa", "viaduct", "coffee"],
}
PARTS = ("#zone", "#classes", "#camera dialog[open]", "#training-status", "#trial", "#verdict", "#added", "#take-away")
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def browser():
    """Chromium with a camera that shows a test image."""
    with sync_playwright() as playwright:
        path = program("chromium", "chromium-browser", "google-chrome")
        chrome = playwright.chromium.launch(executable_path=path, args=[*conftest.FLAGS, *CAMERA])
        yield chrome
        chrome.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The examples as three classes of four images."""
    return copy_examples(tmp_path_factory.mktemp("classes") / "zoo", CLASSES)


@pytest.fixture
def tab(browser, address):
    yield from opened(browser, f"{address}classes")


def opened(browser, url: str, width: int = 1280, theme: str = "light"):
    return opened_page(browser, url, "#learners", width, theme)


def card(page: Page, name: str):
    return page.get_by_role("article", name=name, exact=True)


def images(page: Page, name: str):
    return card(page, name).locator(".lu-thumbs li")


def choose(page: Page, name: str, files) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=f"Choose images of {name}").click()
    chooser.value.set_files(files)


def rename(page: Page, number: int, name: str) -> None:
    page.get_by_label(f"Name of class {number}").fill(name)
    page.keyboard.press("Enter")
    expect(card(page, name)).to_be_visible(timeout=TIMEOUT_MS)


def violations(page: Page) -> tuple[list[str], list[str]]:
    """Return what axe finds in the parts of this page, without Gradio's own components, and low contrasts."""
    parts = (
        "#zone",
        "#classes",
        "#camera dialog[open]",
        "#training-status",
        "#trial",
        "#verdict",
        "#added",
        "#take-away",
    )
    shown = [part for part in parts if page.locator(part).count()]
    found = Axe().run(page, {"include": [[part] for part in shown]}, OPTIONS).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]], page.evaluate(
        LOW_CONTRAST
    )


def train(page: Page) -> None:
    """Train, and wait for the trial of this training, not of an earlier one."""
    earlier = page.locator("#trial .lu-trial").evaluate_all("(all) => all.map((each) => each.dataset.training)")
    page.get_by_role("button", name=re.compile("^Train")).click()
    trial = page.locator("".join(["#trial .lu-trial", *(f':not([data-training="{each}"])' for each in earlier)]))
    expect(trial).to_be_visible(timeout=TIMEOUT_MS)


def test_three_classes_are_collected_trained_used_and_one_is_added(tab, folder):
    # collected: files, the camera, a drop, a folder
    rename(tab, 1, "bear")
    choose(tab, "bear", sorted((folder / "bear").iterdir()))
    expect(images(tab, "bear")).to_have_count(4, timeout=TIMEOUT_MS)
    drag(tab, sorted((folder / "bird").iterdir()), onto='.lu-class[aria-label="Class 2"]')
    expect(images(tab, "Class 2")).to_have_count(4, timeout=TIMEOUT_MS)
    rename(tab, 2, "bird")
    tab.locator("[data-input=folder]").set_input_files(folder / "building")
    expect(images(tab, "building")).to_have_count(4, timeout=TIMEOUT_MS)
    assert violations(tab) == ([], [])
    screenshot(tab, "classes-collected")

    # trained
    train(tab)
    expect(tab.locator("#verdict h2")).to_contain_text("Take efficientnet_lite", timeout=TIMEOUT_MS)
    expect(tab.locator("#verdict .lu-sentence")).to_contain_text(re.compile(r"right on \d+ of 12"))
    assert violations(tab) == ([], [])

    # used: an image, then the camera, live
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Choose an image").click()
    chooser.value.set_files(folder / "bird" / "macaw.jpg")
    expect(tab.locator(".lu-trial .lu-first .lu-label")).to_have_text("bird", timeout=TIMEOUT_MS)
    tab.get_by_role("button", name="Use the camera").click()
    expect(tab.locator(".lu-trial .lu-bars li")).to_have_count(3, timeout=TIMEOUT_MS)
    with tab.expect_response(re.compile("classes/answer")):
        pass
    tab.get_by_role("button", name="Stop the camera").click()
    with tab.expect_download() as download:
        tab.get_by_role("link", name=re.compile("my-classes.zip")).click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"my-classes/config.json", "my-classes/model.safetensors", "my-classes/README.md"} <= set(
            archive.namelist()
        )
    expect(tab.locator("#take-away code").first).to_contain_text("local-dir:my-classes")
    screenshot(tab, "classes-trained")

    # one class is added
    tab.get_by_role("button", name="Add a class").click()
    expect(tab.get_by_label("Name of class 4")).to_be_focused(timeout=TIMEOUT_MS)
    rename(tab, 4, "green")
    tab.get_by_role("button", name="Take images of green with the camera").click()
    for count in (1, 2):
        tab.get_by_role("button", name="Take an image").click()
        expect(tab.locator(".lu-camera-status")).to_contain_text(f"{count} image", timeout=TIMEOUT_MS)
    assert violations(tab)[0] == []
    tab.get_by_role("button", name="Done").click()
    expect(images(tab, "green")).to_have_count(2, timeout=TIMEOUT_MS)
    train(tab)
    tab.get_by_role("button", name="Use the camera").click()
    expect(tab.locator(".lu-trial .lu-first .lu-label")).to_have_text("green", timeout=TIMEOUT_MS)
    tab.get_by_role("button", name="Stop the camera").click()

    # a reload finds all of it again
    tab.reload()
    expect(images(tab, "green")).to_have_count(2, timeout=TIMEOUT_MS)
    expect(tab.locator("#verdict h2")).to_contain_text("Take efficientnet_lite", timeout=TIMEOUT_MS)


OTHER_VIEWS = [(768, "dark"), (390, "light")]
VIEWS = [(390, "dark"), *(pytest.param(*view, marks=pytest.mark.long) for view in OTHER_VIEWS)]


@pytest.mark.parametrize(("width", "theme"), VIEWS)
def test_narrow_page_fits_and_is_accessible(browser, address, folder, width, theme):
    for phone in opened(browser, f"{address}classes", width, theme):
        phone.locator("[data-input=folder]").set_input_files(folder)
        expect(phone.locator(".lu-thumbs li")).to_have_count(12, timeout=TIMEOUT_MS)
        assert violations(phone) == ([], [])
        assert phone.evaluate("document.documentElement.scrollWidth") <= width
        screenshot(phone, f"classes-{width}-{theme}")


def test_keyboard_alone_names_a_class_takes_an_image_and_removes_it(tab):
    tab_to(tab, "Name of class 1")
    tab.keyboard.press("ControlOrMeta+A")
    tab.keyboard.type("owl")
    tab.keyboard.press("Enter")
    expect(card(tab, "owl")).to_be_visible(timeout=TIMEOUT_MS)
    tab_to(tab, "Take images of owl with the camera")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("button", name="Take an image")).to_be_focused(timeout=TIMEOUT_MS)
    tab.keyboard.press("Enter")
    expect(tab.locator(".lu-camera-status")).to_contain_text("1 image taken")
    tab.keyboard.press("Escape")
    expect(images(tab, "owl")).to_have_count(1, timeout=TIMEOUT_MS)
    expect(tab.get_by_role("button", name="Take images of owl with the camera")).to_be_focused()
    tab_to(tab, "Add a class")
    tab.keyboard.press("Enter")
    expect(tab.get_by_label("Name of class 3")).to_be_focused(timeout=TIMEOUT_MS)
    tab.get_by_role("button", name="Remove image 1 of owl").focus()
    tab.keyboard.press("Enter")
    expect(images(tab, "owl")).to_have_count(0, timeout=TIMEOUT_MS)
    tab_to(tab, "Choose images of owl")
    tab_to(tab, "Backbones")


def test_what_is_not_an_image_and_a_class_of_the_same_name_are_refused_in_sentences(tab, folder, tmp_path):
    (tmp_path / "notes.jpg").write_text("no image")
    choose(tab, "Class 1", [tmp_path / "notes.jpg", folder / "bird" / "hen.jpg"])
    message = tab.locator("#classes-message")
    expect(message).to_contain_text("1 file is left out", timeout=TIMEOUT_MS)
    expect(message).to_contain_text("notes.jpg: expected")
    expect(images(tab, "Class 1")).to_have_count(1)
    tab.get_by_label("Name of class 2").fill("Class 1")
    tab.keyboard.press("Enter")
    expect(message).to_contain_text("There is a class 'Class 1' already", timeout=TIMEOUT_MS)
    expect(tab.get_by_label("Name of class 2")).to_have_value("Class 2")


def test_quick_uploads_on_a_slow_line_keep_each_message_and_count_all_images(tab, folder, tmp_path):
    (tmp_path / "notes.jpg").write_text("no image")
    devtools = tab.context.new_cdp_session(tab)
    devtools.send("Network.enable")
    slow = {"offline": False, "latency": 400, "downloadThroughput": -1, "uploadThroughput": -1}
    devtools.send("Network.emulateNetworkConditions", slow)
    with holding(tab, "**/classes/images*"):
        choose(tab, "Class 1", [tmp_path / "notes.jpg", folder / "bird" / "hen.jpg"])
        choose(tab, "Class 1", [folder / "bird" / "owl.jpg"])
        expect(card(tab, "Class 1").get_by_role("status")).to_contain_text("3 images")
        tab.get_by_role("button", name="Remove the class Class 1").click()
        expect(card(tab, "Class 1").get_by_text("Remove all?")).to_be_visible()
    expect(images(tab, "Class 1")).to_have_count(2, timeout=TIMEOUT_MS)
    expect(tab.locator("#classes-message")).to_contain_text("notes.jpg: expected")
    expect(card(tab, "Class 1").get_by_role("status")).to_be_empty()


PASTE = """(base64) => {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)), clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], "image.png", { type: "image/png" }));
  const paste = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
  document.activeElement.dispatchEvent(paste);
}"""


def test_pasted_image_goes_to_the_class_with_the_focus(tab, folder):
    tab.get_by_role("button", name="Choose images of Class 2").focus()
    tab.evaluate(PASTE, base64.b64encode((folder / "bird" / "owl.jpg").read_bytes()).decode())
    expect(images(tab, "Class 2")).to_have_count(1, timeout=TIMEOUT_MS)


def test_first_page_links_to_classes(page):
    page.get_by_role("link", name="Teach the backbones your own").click()
    expect(page.locator(".lu-classes")).to_be_visible(timeout=TIMEOUT_MS)


@pytest.mark.long
def test_trained_backbone_is_in_the_dropdown_of_the_first_page_at_once(browser, folder, tmp_path):
    with serving(ROOT / "config.yaml", without_hub(tmp_path), tmp_path / "log.txt") as app:
        for page in opened(browser, f"{app.url}classes"):
            page.locator("[data-input=folder]").set_input_files(folder)
            expect(page.locator(".lu-thumbs li")).to_have_count(12, timeout=TIMEOUT_MS)
            train(page)
            page.get_by_role("button", name="Show plain Python").click()
            python = page.locator("#take-away code").nth(2)
            expect(python).to_contain_text("create_model('local-dir:my-classes'", timeout=TIMEOUT_MS)
            page.get_by_label("Name", exact=True).fill("my zoo")
            expect(page.locator("#take-away code").first).to_contain_text("local-dir:my zoo", timeout=TIMEOUT_MS)
            page.get_by_role("button", name="Add to this page now").click()
            expect(page.locator("#added")).to_contain_text("my zoo is in the dropdown", timeout=TIMEOUT_MS)
            assert violations(page) == ([], [])
            page.get_by_role("button", name="Add to this page now").click()
            expect(page.locator("#added")).to_contain_text("It was not added", timeout=TIMEOUT_MS)
            screenshot(page, "classes-added")
            page.goto(f"{app.url}?backbone=my+zoo")
            expect(page.locator("#backbone input")).to_have_value(re.compile("^my zoo"), timeout=TIMEOUT_MS)
            click_example(page, EXAMPLES[0])
            expect(page.locator("#result .lu-first .lu-label")).to_have_text("building", timeout=TIMEOUT_MS)
            screenshot(page, "classes-first-page")

"""The shipped page in a browser without a network: every control that a user can operate."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import wide_images
from page_actions import BACKBONES, EXAMPLES, FIRST, choose, click_example, label_of, screenshot, settle, show_labels
from PIL import Image
from playwright.sync_api import Page, expect

BUNDLED = list(BACKBONES)


def expect_answer_by(page: Page, backbone: str) -> None:
    expect(page.locator("#result .lu-ran")).to_contain_text(backbone)


def test_fallback_notice_names_the_unavailable_default(page):
    notice = page.locator("#notice")
    expect(notice).to_contain_text("resnet18 cannot run now, so efficientnet_lite0 is selected")
    expect(notice).to_contain_text("cannot be reached; check this machine's network")
    expect(page.locator("#status")).to_contain_text("efficientnet_lite0 is ready")
    page.locator("#backbone input").click()
    first = page.locator("[role=option]").first
    expect(first).to_contain_text("resnet18 · 11.7 M parameters · ✕ unavailable:")
    screenshot(page, "opened")


@pytest.mark.parametrize("backbone", [BUNDLED[0], pytest.param(BUNDLED[1], marks=pytest.mark.long)])
def test_every_example_gets_its_label(page, backbone):
    choose(page, backbone)
    expect(page.locator("#status")).to_contain_text(f"{backbone} is ready")
    for example in EXAMPLES:
        click_example(page, example)
        expect(page.locator(FIRST)).to_have_text(label_of(example, backbone))
        expect_answer_by(page, backbone)


@pytest.mark.long
def test_backbone_change_classifies_again(page):
    click_example(page, EXAMPLES[0])
    expect_answer_by(page, "efficientnet_lite0")
    choose(page, "efficientnet_lite2")
    expect_answer_by(page, "efficientnet_lite2")
    screenshot(page, "answered")


@pytest.mark.long
def test_top_k_change_shows_more_labels_without_a_new_run(page):
    click_example(page, EXAMPLES[0])
    expect_answer_by(page, "efficientnet_lite0")
    expect(page.locator("#result li")).to_have_count(3)
    details = page.locator("#result .lu-ran").inner_text()
    show_labels(page, 5)
    expect(page.locator("#result li")).to_have_count(5)
    assert page.locator("#result .lu-ran").inner_text() == details  # unchanged times: no second run


def test_compare_all_compares_all_available_backbones(page):
    page.locator("#compare-all").click()
    expect(page.locator("#result .lu-verdict p").first).to_have_text("Both say castle.")
    expect(page.locator("#result h3")).to_have_text(BUNDLED)
    expect(page.locator("#result .lu-verdict")).to_contain_text("Left out: resnet18, ")
    page.wait_for_function("location.search.includes('example=castle')")
    screenshot(page, "compared_all")


CARDS = """(count) => {
  const cards = document.querySelector("#result .lu-cards");
  while (cards.children.length < count) cards.append(cards.children[0].cloneNode(true));
  return [...cards.children].map((card) => card.getBoundingClientRect().toJSON());
}"""


@pytest.mark.long
def test_comparison_has_six_full_width_columns(page):
    page.locator("#compare-all").click()
    expect(page.locator("#result .lu-verdict")).to_be_visible()
    stage = page.locator("#stage").bounding_box()
    for count in (2, 6):
        boxes = page.evaluate(CARDS, count)
        assert len({box["top"] for box in boxes}) == 1
        assert boxes[0]["left"] == pytest.approx(stage["x"], abs=2)
        assert boxes[-1]["right"] == pytest.approx(stage["x"] + stage["width"], abs=2)
    assert page.evaluate("document.documentElement.scrollWidth") == 1280


def test_unavailable_backbone_shows_the_error(page):
    click_example(page, EXAMPLES[0])
    expect_answer_by(page, "efficientnet_lite0")
    choose(page, "resnet18 ")
    expect(page.locator("#status")).to_contain_text("resnet18 cannot run now")
    expect(page.locator("#result li")).to_have_count(0)
    expect(page.locator("#retry")).to_be_visible()
    screenshot(page, "unavailable")
    choose(page, "efficientnet_lite2")
    expect_answer_by(page, "efficientnet_lite2")
    expect(page.locator("#retry")).not_to_be_visible()


@pytest.mark.long
def test_file_upload_is_classified(page):
    page.set_input_files("#image input[type=file]", EXAMPLES[-1])
    expect(page.locator(FIRST)).to_have_text(label_of(EXAMPLES[-1]))


PASTE = """([name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const items = new DataTransfer();
  items.items.add(new File([bytes], name, {type}));
  document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: items, bubbles: true, cancelable: true}));
}"""

DROP = """(zone, [name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const items = new DataTransfer();
  items.items.add(new File([bytes], name, {type}));
  for (const kind of ["dragenter", "dragover", "drop"])
    zone.dispatchEvent(new DragEvent(kind, {dataTransfer: items, bubbles: true, cancelable: true}));
}"""


COPY = """async (data) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], {type: "image/jpeg"}));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  await navigator.clipboard.write([new ClipboardItem({"image/png": await canvas.convertToBlob()})]);
}"""


def encoded(image: Path) -> str:
    return base64.b64encode(image.read_bytes()).decode()


def drop(page: Page, name: str, body: bytes, kind: str = "image/jpeg") -> None:
    zone = page.locator("#image .image-frame img, #image button.upload-container:not(.hidden)")
    zone.first.evaluate(DROP, [name, kind, base64.b64encode(body).decode()])


@pytest.mark.long
def test_dropped_images_replace_each_other(page):
    for example in (EXAMPLES[-1], EXAMPLES[0]):
        drop(page, "dropped.jpg", example.read_bytes())
        expect(page.locator(FIRST)).to_have_text(label_of(example))


@pytest.mark.long
def test_image_pasted_anywhere_is_classified(page):
    for example in (EXAMPLES[-1], EXAMPLES[0]):
        page.evaluate(PASTE, ["pasted.jpg", "image/jpeg", encoded(example)])
        expect(page.locator(FIRST)).to_have_text(label_of(example))


def test_image_pasted_with_the_keyboard_is_classified(page, address):
    """Uses the real clipboard of the browser."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    page.evaluate(COPY, encoded(EXAMPLES[-1]))
    page.keyboard.press("Control+V")
    expect(page.locator(FIRST)).to_have_text(label_of(EXAMPLES[-1]))


def test_broken_file_is_reported_and_the_next_image_works(page):
    drop(page, "broken.jpg", EXAMPLES[0].read_bytes()[:5000])
    expect(page.locator("#status")).to_contain_text("It is damaged or cut off")
    expect(page.locator("#status")).to_contain_text("broken.jpg: expected a whole image")
    screenshot(page, "broken")
    click_example(page, EXAMPLES[0])
    expect(page.locator(FIRST)).to_have_text(label_of(EXAMPLES[0]))
    expect(page.locator("#status")).to_have_text("")


@pytest.mark.long
def test_removing_the_image_clears_the_answer(page):
    click_example(page, EXAMPLES[0])
    expect_answer_by(page, "efficientnet_lite0")
    page.locator("#image").get_by_label("Remove Image").click()
    expect(page.locator("#result li")).to_have_count(0)
    expect(page.locator("#status")).to_contain_text("efficientnet_lite0 is ready")


def test_reload_restores_the_example(page):
    click_example(page, EXAMPLES[0])
    expect_answer_by(page, "efficientnet_lite0")
    page.wait_for_function("location.search.includes('example=')")
    page.reload()
    expect(page.locator(FIRST)).to_have_text(label_of(EXAMPLES[0]))
    expect_answer_by(page, "efficientnet_lite0")


@pytest.mark.long
def test_reload_drops_an_uploaded_image(page):
    page.set_input_files("#image input[type=file]", EXAMPLES[-1])
    expect_answer_by(page, "efficientnet_lite0")
    page.wait_for_function("location.search.includes('top_k=')")
    page.reload()
    expect(page.locator("#status")).to_contain_text("efficientnet_lite0 is ready")
    expect(page.locator("#result li")).to_have_count(0)


IN_VIEW = """() => {
  const box = document.querySelector("#result .lu-verdict, #result section.lu-card").getBoundingClientRect();
  return box.top >= 0 && box.top < innerHeight - 100;
}"""


def test_new_answer_is_scrolled_into_view(page, phone):
    page.set_viewport_size({"width": 1280, "height": 720})
    for tab in (page, phone):
        tab.locator("#compare-all").click()
        expect(tab.locator("#result .lu-verdict")).to_be_visible()
        tab.wait_for_function(IN_VIEW)
        click_example(tab, EXAMPLES[-1])
        expect(tab.locator("#result .lu-verdict")).to_contain_text(label_of(EXAMPLES[-1]))
        tab.wait_for_function(IN_VIEW)


def test_answer_does_not_scroll_an_open_list_away(phone):
    phone.set_viewport_size({"width": 390, "height": 560})  # the answer is below
    phone.locator("#backbone input").click()
    option = phone.locator("[role=option]", has_text="efficientnet_lite2")
    expect(option).to_be_in_viewport()
    place = phone.evaluate("scrollY")
    phone.locator("#examples button").first.evaluate("(example) => example.click()")  # leaves the list open
    expect_answer_by(phone, "efficientnet_lite0")
    settle(phone)
    assert phone.evaluate("scrollY") == place
    option.click()
    expect_answer_by(phone, "efficientnet_lite2")


def test_plot_scrolls_horizontally_on_a_phone(phone):
    phone.locator("#compare-all").click()
    expect(phone.locator("#result .lu-verdict")).to_be_visible()
    phone.locator("#measured-here > button").click()
    expect(phone.locator("#plot canvas, #plot svg.marks").first).to_be_visible()
    ends = phone.evaluate(
        """() => {
          const scrolled = [...document.querySelectorAll("#plot *")].find(
            (node) => node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).overflowX === "auto");
          const drawn = () => document.querySelector("#plot canvas, #plot svg.marks").getBoundingClientRect();
          const frame = scrolled.getBoundingClientRect(), start = drawn().left - frame.left;
          scrolled.scrollLeft = 10_000;
          return [start, drawn().right - frame.right];
        }"""
    )
    assert ends[0] >= -1  # starts at its axis
    assert ends[1] <= 1  # scrolls to its end
    assert phone.evaluate("document.documentElement.scrollWidth") == 390


def test_phone_in_dark_mode_does_not_scroll_horizontally(phone):
    click_example(phone, EXAMPLES[0])
    expect_answer_by(phone, "efficientnet_lite0")
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    answer, examples = (phone.locator(part).bounding_box() for part in ("#result", "#examples"))
    assert answer["y"] < examples["y"]
    background = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background)[:3])) < 150
    screenshot(phone, "phone_dark")


def test_upload_that_a_browser_cannot_show_is_shown_as_decoded(page, tmp_path):
    photo = Image.open(next(path for path in EXAMPLES if path.stem == "macaw")).convert("RGB")
    photo.thumbnail((400, 400))
    pixels = np.asarray(photo)
    (tmp_path / "12 bits.tif").write_bytes(wide_images.tiff(pixels.astype(np.uint16) * 16))
    page.locator("#image input[type=file]").set_input_files(tmp_path / "12 bits.tif")
    expect(page.locator(FIRST)).to_have_text("macaw")
    expect(page.locator("#result .lu-note")).to_contain_text("its values of 12 bits in a file of 16 bits go up to")
    shown = page.locator("#image img")
    expect(shown).to_be_visible()
    size, mean = shown.evaluate(SHOWN)
    assert size == [photo.width, photo.height]
    assert mean == pytest.approx(pixels.mean(), abs=2)
    screenshot(page, "tiff_of_12_bits")


SHOWN = """async (image) => {
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let sum = 0;
  data.forEach((value, index) => { if (index % 4 < 3) sum += value; });
  return [[canvas.width, canvas.height], sum / (data.length * 3 / 4)];
}"""

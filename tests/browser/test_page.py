"""What a visitor can click, clicked: the shipped page with no network, in a real browser."""

import base64
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from visiting import BACKBONES, EXAMPLES, FIRST, choose, click_example, keep, label_of, show_labels

BUNDLED = list(BACKBONES)


def answered_by(page: Page, backbone: str) -> None:
    expect(page.locator("#result .lu-ran")).to_contain_text(backbone, timeout=30_000)


def test_the_page_says_what_could_not_be_had_and_what_is_selected_instead(page):
    notice = page.locator("#notice")
    expect(notice).to_contain_text("resnet18 cannot run now, so efficientnet_lite0 is selected")
    expect(notice).to_contain_text("cannot be reached; check this machine's network")
    expect(page.locator("#status")).to_contain_text("efficientnet_lite0 is ready")
    page.locator("#backbone input").click()
    first, *_ = page.locator("[role=option]").all_inner_texts()
    assert "resnet18 · 11.7 M parameters · ✕ unavailable:" in first
    keep(page, "opened")


@pytest.mark.parametrize("backbone", BUNDLED)
def test_every_example_is_answered_with_its_class_first(page, backbone):
    choose(page, backbone)
    expect(page.locator("#status")).to_contain_text(f"{backbone} is ready")
    for example in EXAMPLES:
        click_example(page, example)
        expect(page.locator(FIRST)).to_have_text(label_of(example, backbone), timeout=30_000)
        answered_by(page, backbone)


def test_another_backbone_answers_by_itself(page):
    click_example(page, EXAMPLES[0])
    answered_by(page, "efficientnet_lite0")
    choose(page, "efficientnet_lite2")
    answered_by(page, "efficientnet_lite2")
    keep(page, "answered")


def test_another_top_k_shows_more_labels_and_does_not_run_again(page):
    click_example(page, EXAMPLES[0])
    answered_by(page, "efficientnet_lite0")
    expect(page.locator("#result li")).to_have_count(3)
    ran = page.locator("#result .lu-ran").inner_text()
    show_labels(page, 5)
    expect(page.locator("#result li")).to_have_count(5)
    assert page.locator("#result .lu-ran").inner_text() == ran  # the same milliseconds: the same run


def test_one_click_on_a_fresh_page_compares_all_that_can_be_had(page):
    page.locator("#compare-all").click()
    expect(page.locator("#result .lu-verdict p").first).to_have_text("Both say castle.", timeout=60_000)
    expect(page.locator("#result h3")).to_have_text(BUNDLED)
    expect(page.locator("#result .lu-verdict")).to_contain_text("Left out: resnet18, ")
    page.wait_for_function("location.search.includes('example=castle')")
    keep(page, "compared_all")


CARDS = """(count) => {
  const cards = document.querySelector("#result .lu-cards");
  while (cards.children.length < count) cards.append(cards.children[0].cloneNode(true));
  return [...cards.children].map((card) => card.getBoundingClientRect().toJSON());
}"""


def test_a_comparison_spans_the_page_with_six_cards_in_a_row(page):
    page.locator("#compare-all").click()
    expect(page.locator("#result .lu-verdict")).to_be_visible(timeout=60_000)
    stage = page.locator("#stage").bounding_box()
    for count in (2, 6):
        boxes = page.evaluate(CARDS, count)
        assert len({box["top"] for box in boxes}) == 1
        assert boxes[0]["left"] == pytest.approx(stage["x"], abs=2)
        assert boxes[-1]["right"] == pytest.approx(stage["x"] + stage["width"], abs=2)
    assert page.evaluate("document.documentElement.scrollWidth") == 1280


def test_a_backbone_that_cannot_run_says_why_and_the_next_one_answers(page):
    click_example(page, EXAMPLES[0])
    answered_by(page, "efficientnet_lite0")
    choose(page, "resnet18 ")
    expect(page.locator("#status")).to_contain_text("resnet18 cannot run now")
    expect(page.locator("#result li")).to_have_count(0)
    expect(page.locator("#retry")).to_be_visible()
    keep(page, "unavailable")
    choose(page, "efficientnet_lite2")
    answered_by(page, "efficientnet_lite2")
    expect(page.locator("#retry")).not_to_be_visible()


def test_a_file_is_uploaded(page):
    page.set_input_files("#image input[type=file]", EXAMPLES[-1])
    expect(page.locator(FIRST)).to_have_text(label_of(EXAMPLES[-1]), timeout=30_000)


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


def test_a_image_is_dropped_and_then_another_one_on_top_of_it(page):
    for example in (EXAMPLES[-1], EXAMPLES[0]):
        drop(page, "dropped.jpg", example.read_bytes())
        expect(page.locator(FIRST)).to_have_text(label_of(example), timeout=30_000)


def test_a_image_is_pasted_anywhere_and_then_another_one(page):
    for example in (EXAMPLES[-1], EXAMPLES[0]):
        page.evaluate(PASTE, ["pasted.jpg", "image/jpeg", encoded(example)])
        expect(page.locator(FIRST)).to_have_text(label_of(example), timeout=30_000)


def test_a_image_is_pasted_with_the_keyboard(page, address):
    """The browser's own clipboard, filled and pasted as a visitor does it."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    page.evaluate(COPY, encoded(EXAMPLES[-1]))
    page.keyboard.press("Control+V")
    expect(page.locator(FIRST)).to_have_text(label_of(EXAMPLES[-1]), timeout=30_000)


def test_a_broken_file_is_told_and_the_next_image_answered(page):
    drop(page, "broken.jpg", EXAMPLES[0].read_bytes()[:5000])
    expect(page.locator("#status")).to_contain_text("It is damaged or cut off", timeout=30_000)
    expect(page.locator("#status")).to_contain_text("broken.jpg: expected a whole image")
    keep(page, "broken")
    click_example(page, EXAMPLES[0])
    expect(page.locator(FIRST)).to_have_text(label_of(EXAMPLES[0]), timeout=30_000)
    expect(page.locator("#status")).to_have_text("")


def test_a_image_that_is_taken_away_takes_its_answer_along(page):
    click_example(page, EXAMPLES[0])
    answered_by(page, "efficientnet_lite0")
    page.locator("#image").get_by_label("Remove Image").click()
    expect(page.locator("#result li")).to_have_count(0)
    expect(page.locator("#status")).to_contain_text("efficientnet_lite0 is ready")


def test_a_reload_brings_the_example_back(page):
    click_example(page, EXAMPLES[0])
    answered_by(page, "efficientnet_lite0")
    page.wait_for_function("location.search.includes('example=')")
    page.reload()
    expect(page.locator(FIRST)).to_have_text(label_of(EXAMPLES[0]), timeout=30_000)
    answered_by(page, "efficientnet_lite0")


def test_a_reload_forgets_a_image_of_ones_own(page):
    page.set_input_files("#image input[type=file]", EXAMPLES[-1])
    answered_by(page, "efficientnet_lite0")
    page.wait_for_function("location.search.includes('top_k=')")
    page.reload()
    expect(page.locator("#status")).to_contain_text("efficientnet_lite0 is ready", timeout=30_000)
    expect(page.locator("#result li")).to_have_count(0)


IN_VIEW = """() => {
  const box = document.querySelector("#result .lu-verdict, #result section.lu-card").getBoundingClientRect();
  return box.top >= 0 && box.top < innerHeight - 100;
}"""


def test_an_answer_that_comes_out_of_sight_is_scrolled_into_view(page, phone):
    page.set_viewport_size({"width": 1280, "height": 720})
    for visitor in (page, phone):
        visitor.locator("#compare-all").click()
        expect(visitor.locator("#result .lu-verdict")).to_be_visible(timeout=60_000)
        visitor.wait_for_function(IN_VIEW)
        click_example(visitor, EXAMPLES[-1])
        expect(visitor.locator("#result .lu-verdict")).to_contain_text(label_of(EXAMPLES[-1]), timeout=30_000)
        visitor.wait_for_function(IN_VIEW)


def test_the_plot_is_scrolled_sideways_on_a_phone(phone):
    phone.locator("#compare-all").click()
    expect(phone.locator("#result .lu-verdict")).to_be_visible(timeout=60_000)
    phone.locator("#measured-here > button").click()
    expect(phone.locator("#plot canvas, #plot svg.marks").first).to_be_visible(timeout=30_000)
    ends = phone.evaluate(
        """() => {
          const scrolled = [...document.querySelectorAll("#plot *")].find(
            (each) => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX === "auto");
          const drawn = () => document.querySelector("#plot canvas, #plot svg.marks").getBoundingClientRect();
          const frame = scrolled.getBoundingClientRect(), start = drawn().left - frame.left;
          scrolled.scrollLeft = 10_000;
          return [start, drawn().right - frame.right];
        }"""
    )
    assert ends[0] >= -1  # it begins at its axis
    assert ends[1] <= 1  # and can be scrolled to its end
    assert phone.evaluate("document.documentElement.scrollWidth") == 390


def test_a_phone_in_the_dark_shows_everything_without_scrolling_sideways(phone):
    click_example(phone, EXAMPLES[0])
    answered_by(phone, "efficientnet_lite0")
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    answer, examples = (phone.locator(part).bounding_box() for part in ("#result", "#examples"))
    assert answer["y"] < examples["y"]
    background = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background)[:3])) < 150
    keep(phone, "phone_dark")

"""Images from the browser: real drops, pastes, files, clipboard and camera, and what is refused of them."""

import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import conftest
import pytest
from page_actions import EXAMPLES, FIRST, click_example, drag, label_of, screenshot
from playwright.sync_api import Page, expect
from requesting import ask
from test_page import PASTE, encoded

BY_NAME = {example.stem: example for example in EXAMPLES}
CASTLE, HEN, KOALA, PANDA = (BY_NAME[name] for name in ("castle", "hen", "koala", "giant_panda"))
MESSAGE = "#image-message .lu-panel"
UPLOADS, JOINS = "**/gradio_api/upload?*", "**/gradio_api/queue/join*"
BUSY = "busy: 64 requests are waiting already; try again in 7 s"


def expect_label(page: Page, example: Path) -> None:
    expect(page.locator(FIRST)).to_have_text(label_of(example))


def expect_message(page: Page, *texts: str) -> None:
    for text in texts:
        expect(page.locator(MESSAGE)).to_contain_text(text)
    expect(page.locator(".toast-body")).to_have_count(0)


def expect_empty_field(page: Page) -> None:
    expect(page.locator("#image .image-frame")).to_have_count(0)
    expect(page.locator("#image")).to_contain_text("Drop an image here, paste one, or click to choose")


@pytest.fixture(scope="module")
def tab(browser, address):
    yield from conftest.opened(browser, address)


@pytest.fixture
def page(tab):
    """Return the open page without an image; opening it for each test would take longer than most of them."""
    tab.set_viewport_size({"width": 1280, "height": 900})
    remove = tab.get_by_label("Remove Image")
    if remove.is_visible():
        remove.click()
    expect(tab.locator("#result li")).to_have_count(0)
    tab.evaluate("lineup.clear()")
    yield tab
    tab.unroute_all()


@pytest.fixture
def files(tmp_path):
    """Return the folder of files whose names say something else than their content."""
    shutil.copy(HEN, tmp_path / "hen")
    shutil.copy(KOALA, tmp_path / "koala.txt")
    shutil.copy(CASTLE, tmp_path / "castle.pdf")
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7\n")
    (tmp_path / "notes.txt").write_text("a list")
    (tmp_path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    (tmp_path / "empty.jpg").touch()
    return tmp_path


def test_images_dropped_in_a_row_are_all_classified(page):
    for example, place in [
        (CASTLE, "#image"),
        (KOALA, "#image"),
        (HEN, "#result"),
        (CASTLE, "#backbone input"),
        (PANDA, "h1"),
    ]:
        drag(page, [example], onto=place)
        expect_label(page, example)
        expect(page.locator("#image .image-frame img")).to_be_visible()
    expect(page.locator(MESSAGE)).to_have_count(0)


def test_last_of_two_quick_drops_wins(page):
    page.route(UPLOADS, lambda route: None, times=1)  # the first upload does not end
    drag(page, [CASTLE])
    page.wait_for_function("document.querySelector('#image .uploading')")
    drag(page, [KOALA])
    expect_label(page, KOALA)
    drag(page, [HEN])
    drag(page, [PANDA])
    expect_label(page, PANDA)


def test_example_clicked_during_an_upload_wins(page):
    page.route(UPLOADS, lambda route: None, times=1)
    drag(page, [KOALA])
    page.wait_for_function("document.querySelector('#image .uploading')")
    click_example(page, CASTLE)
    expect_label(page, CASTLE)
    expect(page.locator("#image .uploading")).to_have_count(0)
    drag(page, [HEN])
    expect_label(page, HEN)


def test_content_and_not_name_or_type_decides(page, files):
    for name, example in [("hen", HEN), ("koala.txt", KOALA), ("castle.pdf", CASTLE)]:
        drag(page, [files / name])
        expect_label(page, example)
    for name, kind, example in [("hen", "", HEN), ("koala.mp4", "video/mp4", KOALA)]:
        payload = {"name": name, "mimeType": kind, "buffer": example.read_bytes()}
        page.locator("#image input[type=file]").set_input_files(payload)
        expect_label(page, example)
        page.evaluate(PASTE, [name, kind, encoded(CASTLE)])
        expect_label(page, CASTLE)


def test_files_without_an_image_get_the_answer_of_the_server(page, files):
    for name in ("paper.pdf", "logo.svg", "empty.jpg", "notes.txt"):
        drag(page, [files / name])
        expect(page.locator("#status")).to_contain_text(f"{name}: expected an image")
    frame = page.locator("#image .image-frame")
    expect(frame).to_have_attribute("data-unshown", "notes.txt")
    content = frame.evaluate("frame => getComputedStyle(frame, '::after').content")
    assert content.replace('" "', "") == '"This browser cannot show notes.txt"'
    screenshot(page, "not_an_image")
    drag(page, [HEN])
    expect_label(page, HEN)
    expect(page.locator("#image .image-frame:not([data-unshown])")).to_have_count(1)


def test_drop_without_a_usable_file_gets_a_sentence(page, files):
    click_example(page, CASTLE)
    expect_label(page, CASTLE)
    address = "https://example.org/cat.jpg"
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    for items, sentence in [
        ([{"mimeType": "text/uri-list", "data": address}], "Save the image, and drop the file"),
        ([{"mimeType": "text/html", "data": f'<img src="{address}">'}], "Addresses are not fetched"),
        ([{"mimeType": "text/plain", "data": address}], "That is an address"),
        ([{"mimeType": "text/plain", "data": "a cat"}], "That is text"),
    ]:
        drag(page, items=items)
        expect_message(page, sentence)
    drag(page, [files])
    expect_message(page, "That is a folder")
    assert [url for url in requests if "example.org" in url or "upload" in url] == []
    expect_label(page, CASTLE)
    screenshot(page, "dropped_folder")
    page.get_by_role("button", name="Dismiss").press("Enter")
    expect(page.locator(MESSAGE)).to_have_count(0)
    assert page.evaluate("document.activeElement.closest('#image') !== null")


def test_first_image_of_several_files_is_used_and_said(page, files):
    drag(page, [files / "notes.txt", files / "hen", KOALA])
    expect_label(page, HEN)
    expect_message(page, "3 files at once", "hen is used")
    drag(page, [KOALA, CASTLE])
    expect_label(page, KOALA)
    expect_message(page, "2 files at once", "koala.jpg is used")
    drag(page, [CASTLE])
    expect_label(page, CASTLE)
    expect(page.locator(MESSAGE)).to_have_count(0)


PASTE_TEXT = """([target, text]) => {
  const items = new DataTransfer();
  items.setData("text/plain", text);
  const event = new ClipboardEvent("paste", {clipboardData: items, bubbles: true, cancelable: true});
  document.querySelector(target).dispatchEvent(event);
  return event.defaultPrevented;
}"""


def test_text_goes_into_a_text_field_and_gets_a_sentence_elsewhere(page):
    assert page.evaluate(PASTE_TEXT, ["#backbone input", "https://example.org/cat.jpg"]) is False
    drag(page, items=[{"mimeType": "text/plain", "data": "resnet"}], onto="#backbone input")
    expect(page.locator(MESSAGE)).to_have_count(0)
    assert page.evaluate(PASTE_TEXT, ["body", "https://example.org/cat.jpg"]) is True
    expect_message(page, "That is an address", "Save the image")


def test_page_shows_that_an_image_can_be_dropped(phone):
    container = phone.locator(".gradio-container.lu-dragging")
    for end in (
        lambda: phone.locator("#image").dispatch_event("dragleave"),  # out of the window
        lambda: phone.mouse.move(9, 9),  # an end that was not announced
        lambda: drag(phone, [CASTLE]),
    ):
        drag(phone, [CASTLE], until="dragOver")
        expect(container).to_have_count(1)
        screenshot(phone, "dragging_phone_dark")
        end()
        expect(container).to_have_count(0)
    expect_label(phone, CASTLE)


def test_example_can_be_dragged_and_the_image_itself_changes_nothing(page):
    thumbnail = page.locator("#examples button.thumbnail-item").nth(EXAMPLES.index(KOALA))
    page.set_viewport_size({"width": 1280, "height": 1600})  # a drag that scrolls would begin at another example
    thumbnail.drag_to(page.locator("#image"))
    expect_label(page, KOALA)
    image = page.locator("#image .image-frame img")
    image.drag_to(page.locator("#image"), target_position={"x": 60, "y": 200})
    expect(page.locator(MESSAGE)).to_have_count(0)
    expect_label(page, KOALA)
    drag(page, [HEN])
    expect_label(page, HEN)


def test_too_large_file_is_refused_at_once_with_the_sentence_of_the_server(page, address, tmp_path):
    click_example(page, CASTLE)
    expect_label(page, CASTLE)
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(20_000_001)
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = head + large.read_bytes() + b"\r\n--x--\r\n"
    status, _, refusal = ask(urlsplit(address).netloc, "POST", "/gradio_api/upload", body, headers)
    assert status == 413
    sentence = json.loads(refusal)["detail"]
    assert "at most 20 MB" in sentence
    page.route(UPLOADS, lambda route: pytest.fail("it was uploaded"))
    drag(page, [large])
    expect_message(page, "The image is too large", sentence)
    expect_label(page, CASTLE)  # the earlier image stays
    page.unroute_all()
    page.route(UPLOADS, lambda route: route.fulfill(status=status, body=refusal))  # as if the server had another limit
    drag(page, [KOALA])
    expect_message(page, "The image is too large", sentence)
    expect_empty_field(page)
    expect(page.locator(f"{MESSAGE} button")).to_have_count(1)  # trying again would not help


REFUSALS = [
    ({"status": 503, "json": {"detail": BUSY}}, ["The server is busy", BUSY]),
    ({"status": 408, "json": {"detail": "request: try again"}}, ["The upload took too long", "request: try again"]),
    ({"status": 502, "body": "<html>"}, ["The server answered 502. Try again in a minute."]),
    ({"status": 503, "body": "<html>", "headers": {"Retry-After": "9"}}, ["Try again in 9 s."]),
    (None, ["The upload failed", "The connection broke"]),
]


def test_refused_upload_is_said_and_can_be_repeated(page):
    for answer, sentences in REFUSALS:
        page.route(UPLOADS, lambda route: route.fulfill(**answer) if answer else route.abort())  # noqa: B023
        drag(page, [CASTLE])
        expect_message(page, *sentences)
        for code in ("{", "<html>"):
            expect(page.locator(MESSAGE)).not_to_contain_text(code)
        expect_empty_field(page)
        page.unroute_all()
    expect(page.locator("#image-message")).to_have_attribute("role", "alert")
    screenshot(page, "refused_upload")
    page.get_by_role("button", name="Try again").click()
    expect_label(page, CASTLE)
    expect(page.locator(MESSAGE)).to_have_count(0)
    assert page.evaluate("document.activeElement.closest('#image') !== null")


def test_refused_request_is_said_and_dims_the_earlier_answer(page):
    drag(page, [CASTLE])
    expect_label(page, CASTLE)
    page.route(JOINS, lambda route: route.fulfill(status=503, json={"detail": BUSY}))
    drag(page, [KOALA])
    expect_message(page, "The server is busy", BUSY)
    expect(page.locator("#result")).to_have_css("opacity", "0.35")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect_label(page, KOALA)
    expect(page.locator(MESSAGE)).to_have_count(0)
    expect(page.locator("#result")).to_have_css("opacity", "1")


def test_refused_camera_and_clipboard_are_said(page, address):
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    expect_message(page, "The camera cannot be used", "drop an image")  # Chromium has none here
    page.get_by_label("Paste from clipboard").click()
    expect_message(page, "The clipboard cannot be read", "Ctrl+V")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    page.evaluate("navigator.clipboard.writeText('a cat')")
    page.get_by_label("Paste from clipboard").click()
    expect_message(page, "The clipboard holds no image")
    drag(page, [HEN])  # while the camera is selected
    expect_label(page, HEN)


def test_page_without_https_says_why_there_is_no_camera_or_clipboard(browser, address):
    context = browser.new_context()
    context.add_init_script(
        "for (const name of ['mediaDevices', 'clipboard']) Object.defineProperty(navigator, name, {value: undefined});"
        "Object.defineProperty(window, 'isSecureContext', {value: false});"
    )
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Paste from clipboard").click(timeout=30_000)
    expect_message(page, "The clipboard cannot be read", "HTTPS", "Ctrl+V")
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    expect_message(page, "The camera cannot be used", "HTTPS")
    context.close()

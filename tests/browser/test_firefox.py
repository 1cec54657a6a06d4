"""The shipped page in Firefox: answers, comparisons, pasted, dropped and chosen images, and the table by keyboard.

Firefox is driven through WebDriver BiDi by firefox/driver.mjs. All tests share one open page, because opening it takes
longer than most of them; so each of them has an image of its own.
"""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from page_actions import BACKBONES, EXAMPLES, FIRST, label_of
from programs import node_modules, program
from serving import ROOT

FOLDER = Path(__file__).with_name("firefox")
_CASTLE, COFFEE, PANDA, HEN, _KINGFISHER, KOALA, MACAW, _OWL, POLAR_BEAR, RED_PANDA, STUPA, _VIADUCT = EXAMPLES


class Firefox:
    """The open page; a command that fails saves a screenshot, artefacts/firefox_failed.png."""

    def __init__(self, driver: subprocess.Popen[str]) -> None:
        self.driver = driver

    def do(self, command: str, *arguments: object) -> object:
        """Run a command of firefox/driver.mjs, and return its value."""
        print(json.dumps([command, *arguments]), file=self.driver.stdin, flush=True)
        line = self.driver.stdout.readline()
        assert line, "the driver ended: its error output is above"
        answer = json.loads(line)
        assert "error" not in answer, f"{answer['error']} (see artefacts/firefox_failed.png)"
        return answer["value"]

    def expect(self, selector: str, text: str, timeout_s: float = 60) -> None:
        self.do("expect", selector, text, 1000 * timeout_s)

    def run(self, function: str, *arguments: object) -> object:
        return self.do("evaluate", f"({function})({', '.join(map(json.dumps, arguments))})")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    node, firefox = program("node", "nodejs"), program("firefox-esr", "firefox")
    node_modules(FOLDER)
    screenshots = ROOT / "artefacts"
    screenshots.mkdir(exist_ok=True)
    command = [node, str(FOLDER / "driver.mjs"), firefox, str(screenshots)]
    env = {**os.environ, "HOME": str(tmp_path_factory.mktemp("home"))}  # as root, Firefox refuses another user's
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            yield process
            process.stdin.close()  # the driver closes Firefox, and ends
            process.wait(20)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def opened(driver, address):  # in this order: Firefox starts while the server does
    firefox = Firefox(driver)
    firefox.do("open", f"{address}?__theme=light", 1280, 900)
    firefox.expect("#notice", "so efficientnet_lite0 is selected", 150)
    return firefox


@pytest.fixture
def page(opened):
    """Return the open page; fail if it reports an error during the test."""
    yield opened
    assert opened.do("errors") == []


def test_example_is_answered_with_its_label(page):
    page.do("click", "#examples button[aria-label=coffee]")
    page.expect(FIRST, label_of(COFFEE))
    page.do("screenshot", "firefox_answered")


def test_chosen_file_is_classified(page):
    page.do("choose", "#image input[type=file]", str(PANDA))
    page.expect(FIRST, label_of(PANDA))


FILES = """
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, {type: "image/jpeg"}));
"""

# Headless Firefox has no clipboard for images: the next paste event, which is a real one, gets the file.
COPY = f"""(name, data) => {{
  {FILES}
  const put = (event) => Object.defineProperty(event, "clipboardData", {{value: transfer}});
  window.addEventListener("paste", put, {{capture: true, once: true}});
}}"""

# As the browser does it: the files cannot be read before the drop, nor once the task of the drop and its microtasks are
# done, and the page gets a drop only where it cancels dragover.
DROP = f"""async (selector, name, data) => {{
  {FILES}
  const target = document.querySelector(selector);
  const dispatch = (kind) =>
    !target.dispatchEvent(new DragEvent(kind, {{dataTransfer: transfer, bubbles: true, cancelable: true}}));
  Object.defineProperty(transfer, "files", {{value: new DataTransfer().files, configurable: true}});
  dispatch("dragenter");
  if (!dispatch("dragover")) throw new Error(`${{selector}} does not accept a drop`);
  delete transfer.files;
  if (!dispatch("drop")) throw new Error("Firefox opens the dropped file instead of the page");
  for (let microtask = 0; microtask < 100; microtask++) await null;
  transfer.items.clear();
}}"""


def encoded(image: Path) -> str:
    return base64.b64encode(image.read_bytes()).decode()


def test_images_pasted_with_the_keyboard_replace_each_other(page):
    for image in (HEN, KOALA):
        page.run(COPY, "pasted.jpg", encoded(image))
        page.do("press", "v", "Control")
        page.expect(FIRST, label_of(image))


@pytest.mark.parametrize(
    ("target", "images"),
    [
        ("#image .image-frame img, #image button.upload-container:not(.hidden)", [MACAW, POLAR_BEAR]),
        ("#result", [RED_PANDA, STUPA]),
    ],
    ids=["field", "page"],
)
def test_dropped_images_replace_each_other(page, target, images):
    for image in images:
        page.run(DROP, target, "dropped.jpg", encoded(image))
        page.expect(FIRST, label_of(image))


@pytest.fixture
def compared(page):
    """Compare all backbones, on the image that is there or on the first example."""
    page.do("click", "#compare-all")
    page.expect("#result .lu-verdict", "Both say ", 60)
    page.expect("#comparison-table tbody", "efficientnet_lite2")
    return page


def test_compare_all_shows_a_verdict_and_a_table(compared):
    compared.expect("#result .lu-verdict", "Left out: resnet18, ")
    assert compared.do("texts", "#result h3") == list(BACKBONES)
    compared.do("screenshot", "firefox_compared")


def test_table_is_sorted_with_the_keyboard(compared):
    compared.run("() => document.querySelector('#comparison-table thead button').focus()")
    for is_descending in (False, True):
        compared.do("press", "Enter")
        names = compared.do("texts", "#comparison-table tbody th")
        assert names == sorted(BACKBONES, reverse=is_descending)

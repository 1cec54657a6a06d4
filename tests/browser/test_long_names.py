"""Long names and labels, at the widths of phones, tablets and desktops, and at zooms of 200% and 400%."""

import conftest
import pytest
from page_actions import EXAMPLES, click_example, holding, screenshot, settle, show_labels
from playwright.sync_api import Page, expect

# CSS pixels of a viewport: 320 is a desktop of 1280 at 400%, 384 a tablet of 768 at 200%, 640 a desktop at 200%
WIDTHS_PX = (320, 384, 390, 640, 768, 1280)

# Returns a sentence for each text that leaves its block or the page, is cut off, or lies over another text.
PROBLEMS = """(root) => {
  const problems = [], boxes = [];
  const isShown = (node) =>
    node.checkVisibility({ visibilityProperty: true }) && node.getBoundingClientRect().width > 1;
  const walker = document.createTreeWalker(document.querySelector(root), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), parent = walker.currentNode.parentElement;
    if (!text || !isShown(parent) || parent.closest("svg, .sr-only, .lu-hidden, .cm-gutters")) continue;
    let block = parent;
    while (getComputedStyle(block).display.startsWith("inline")) block = block.parentElement;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    let { left, right } = range.getBoundingClientRect(), clipping = block;
    const scroller = parent.closest(".lu-table, .cm-scroller, #plot .layout");
    const frame = block.getBoundingClientRect();
    if (!parent.closest(".cm-scroller") && (left < frame.left - 1 || right > frame.right + 1))
      problems.push(`"${text}" leaves its ${block.tagName} by ${Math.max(frame.left - left, right - frame.right)} px`);
    if (scroller) {
      if (scroller.scrollWidth > scroller.clientWidth && scroller.tabIndex < 0)
        problems.push(`"${text}" is in a scroller that no key reaches`);
      if (scroller.scrollLeft === 0 && right > scroller.getBoundingClientRect().right) continue;
    } else if (left < -1 || right > innerWidth + 1) problems.push(`"${text}" leaves the page: ${left} to ${right}`);
    for (let node = parent; node && !scroller; node = node.parentElement) {
      const style = getComputedStyle(node), box = node.getBoundingClientRect();
      if (style.overflowX !== "visible" && !style.display.startsWith("inline") && right > box.right + 1 && !node.title)
        problems.push(`"${text}" is cut off by ${node.tagName}.${node.className}`);
    }
    for (const rect of range.getClientRects()) boxes.push([parent, text, rect, scroller]);
  }
  boxes.forEach(([one, text, a, scroller], index) => {
    if (scroller?.matches(".cm-scroller")) return;
    for (const [other, otherText, b] of boxes.slice(index + 1)) {
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (one !== other && width > 1 && height > 3) problems.push(`"${text}" lies over "${otherText}"`);
    }
  });
  for (const input of document.querySelectorAll("input[role=combobox]"))
    if (input.scrollWidth > input.clientWidth && input.title !== input.value)
      problems.push(`"${input.value}" is cut off in its field`);
  if (document.documentElement.scrollWidth > innerWidth)
    problems.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  return problems;
}"""


@pytest.fixture(scope="module")
def tab(browser, long_names_address):
    """Return an open page, whose state advances from test to test."""
    yield from conftest.opened(browser, long_names_address)


def problems_by_width(tab: Page, root: str = "main") -> dict[int, list[str]]:
    found = {}
    for width in WIDTHS_PX:
        tab.set_viewport_size({"width": width, "height": 800})
        tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        if problems := tab.evaluate(PROBLEMS, root):
            found[width] = problems
    return found


def test_names_fit_before_the_first_image(tab):
    assert problems_by_width(tab) == {}


def test_hidden_progress_of_gradio_is_no_text_of_the_page(tab):
    with holding(tab, "**/gradio_api/queue/join*"):
        show_labels(tab, 4)
        progress = tab.locator("#status [data-testid=status-tracker] .progress-text")
        progress.wait_for(state="attached")
        assert not progress.is_visible()  # a transparent text would be
    settle(tab)


def test_options_of_both_dropdowns_fit(tab):
    for dropdown in ("#backbone", "#others"):
        for width in WIDTHS_PX:
            tab.set_viewport_size({"width": width, "height": 800})
            tab.locator(f"{dropdown} input").click()
            expect(tab.locator("[role=option]").first).to_be_visible()
            assert tab.evaluate(PROBLEMS, "[role=listbox]") == [], width
            tab.evaluate("document.activeElement.blur()")
            expect(tab.locator("[role=option]")).to_have_count(0)


def test_names_and_labels_fit_in_an_answer(tab):
    click_example(tab, EXAMPLES[0])
    expect(tab.locator("#result .lu-ran")).to_be_visible()
    assert problems_by_width(tab) == {}


def test_names_and_labels_fit_in_a_comparison_with_open_panels(tab):
    tab.locator("#compare-all").click()
    expect(tab.locator("#result .lu-verdict")).to_be_visible(timeout=120_000)
    for panel in ("#measured-here", "#take-along"):
        tab.locator(f"{panel} > button").click()
    expect(tab.locator("#python .cm-content")).to_contain_text("timm.create_model")
    expect(tab.locator("#plot svg.marks")).to_be_visible()
    assert problems_by_width(tab) == {}
    tab.set_viewport_size({"width": 390, "height": 844})
    screenshot(tab, "phone_long_names")


def test_wide_table_and_plot_scroll_with_the_keyboard(tab):
    tab.set_viewport_size({"width": 390, "height": 844})
    for scroller in ("#comparison-table .lu-table", "#plot .altair", "#python .cm-scroller"):
        tab.locator(scroller).focus()
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function("(scroller) => document.querySelector(scroller).scrollLeft > 0", arg=scroller)


def test_names_fit_in_errors(tab):
    tab.locator("#others .remove-all").click()
    settle(tab)
    tab.locator("#backbone input").click()
    tab.locator("[role=option]", has_text="resnet18").first.click()
    expect(tab.locator("#status .lu-problem")).to_be_visible()
    assert problems_by_width(tab) == {}

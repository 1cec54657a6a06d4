"""The page with axe-core, with the keyboard alone, for screen readers, and with the browser's preferences."""

import io
import re

import conftest
import pytest
from axe_playwright_python.sync_playwright import Axe
from page_actions import EXAMPLES, choose, click_example, screenshot, show_labels
from PIL import Image
from playwright.sync_api import Page, expect
from rendering import classification

from lineup.analysis.agreement import Agreement, Comparison
from lineup.errors import BackboneError
from lineup.page import cards, html
from lineup.results import BackboneStatus, Progress

OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}


def violations(tab: Page, context: str = "body") -> list[str]:
    found = Axe().run(tab, context, OPTIONS).response["violations"]
    return [f"{rule['id']}: {node['html'][:150]}" for rule in found for node in rule["nodes"]]


# Returns each text with a contrast below 4.5, those over gradients included, which axe cannot determine: the
# backgrounds of all ancestors are painted over one another, and the text over them.
LOW_CONTRAST = """() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const paint = (color, alpha = 1) => {
    context.globalAlpha = alpha;
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
  };
  const luminance = () => {
    const linear = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => value / 255).map(
      (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const low = [];
  const check = (element, text, color) => {
    const ancestors = [];
    for (let node = element; node; node = node.parentElement) ancestors.unshift(node);
    const under = () => {
      paint("white");
      ancestors.forEach((node) => paint(getComputedStyle(node).backgroundColor));
      return luminance();
    };
    const opacity = ancestors.reduce((product, node) => product * getComputedStyle(node).opacity, 1);
    const background = under();
    paint(color, opacity);
    const [dark, light] = [background, luminance()].sort((a, b) => a - b);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)}: ${text} in ${element.outerHTML.slice(0, 80)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!/[\\p{L}\\p{N}]/u.test(text) || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest("script, style, .lu-hidden, .cm-gutters, #announcer")) continue;
    const style = getComputedStyle(element);
    if (style.backgroundClip === "text")
      for (const [color] of style.backgroundImage.matchAll(/(?:rgb|color)[^)]*\\)/g))
        check(element.parentElement, text, color);
    else check(element, text, element instanceof SVGElement ? style.fill : style.color);
  }
  for (const input of document.querySelectorAll("input:not([type=range], [type=file]), textarea")) {
    check(input, input.value, getComputedStyle(input).color);
    if (input.placeholder) check(input, input.placeholder, getComputedStyle(input, "::placeholder").color);
  }
  return low;
}"""


def answered(tab: Page, index: int = 0) -> None:
    click_example(tab, EXAMPLES[index])
    expect(tab.locator("#result .lu-ran")).to_be_visible()


def compared(tab: Page) -> None:
    tab.locator("#compare-all").click()
    expect(tab.locator("#result .lu-verdict")).to_be_visible(timeout=120_000)
    expect(tab.locator("#comparison-table table")).to_be_visible(timeout=120_000)  # with the last answer


@pytest.fixture(scope="module")
def address(long_names_address):
    return long_names_address


VIEWS = {  # light on a desktop, and dark on a phone; in the slow tests the other combinations
    "desktop": (1280, "light"),
    "phone": (390, "dark"),
}
OTHER_VIEWS = {"tablet": (768, "light"), "dark desktop": (1280, "dark"), "light phone": (390, "light")}
ALL_VIEWS = [*VIEWS.values(), *(pytest.param(*view, marks=pytest.mark.long) for view in OTHER_VIEWS.values())]


@pytest.mark.parametrize(("width", "theme"), ALL_VIEWS, ids=[*VIEWS, *OTHER_VIEWS])
def test_axe_finds_nothing_and_every_contrast_is_at_least_4_5(browser, address, width, theme):
    for tab in conftest.opened(browser, address, width=width, theme=theme):
        assert (violations(tab), tab.evaluate(LOW_CONTRAST)) == ([], [])
        answered(tab)
        assert (violations(tab), tab.evaluate(LOW_CONTRAST)) == ([], [])
        compared(tab)
        for panel in ("#measured-here", "#take-along"):
            tab.locator(f"{panel} > button").click()
        expect(tab.locator("#python .cm-content")).to_contain_text("timm.create_model")
        expect(tab.locator("#plot svg.marks")).to_be_visible()
        assert (violations(tab), tab.evaluate(LOW_CONTRAST)) == ([], [])
        tab.locator("#status .prose").evaluate("(prose, html) => { prose.innerHTML = html; }", rare_states())
        assert (violations(tab, "#status"), tab.evaluate(LOW_CONTRAST)) == ([], [])


def rare_states() -> str:
    """Return the HTML of the panels and cards that appear for moments, or for errors."""
    error = BackboneError("resnet18", "a file", "the Hub cannot be reached", "check the network")
    answers = {"a": classification(notes=("mind this",)), "b": error}
    return "".join(
        [
            html.problem("Classification failed", error),
            html.loading(BackboneStatus("a", "timm", "loading", progress=Progress("downloading", 1, 2))),
            html.classifying("a"),
            html.status_box("notice", "a notice", "with a reason"),
            cards.comparison(["a", "b", "pending"], Comparison(answers, Agreement("", None, (), ())), 3),
        ]
    )


@pytest.fixture(scope="module")
def tab(browser, address):
    """Return an open page, whose state advances from test to test."""
    yield from conftest.opened(browser, address)


def test_page_states_its_language_and_has_one_h1_and_no_gap(tab):
    assert tab.evaluate("document.documentElement.lang") == "en"
    answered(tab)
    compared(tab)
    headings = tab.locator("h1, h2, h3, h4").evaluate_all("(all) => all.map((heading) => +heading.tagName[1])")
    assert headings == [1, 2, *[3] * 6]
    assert tab.locator("main").count() == 1


def test_table_plot_and_images_have_names(tab):
    table = tab.locator("#comparison-table table")
    expect(table.locator("caption")).to_contain_text("of each backbone")
    assert table.locator("th").evaluate_all("(all) => all.every((header) => header.scope)")
    expect(tab.locator("#measured-here > button")).to_have_attribute("aria-expanded", "false")
    tab.locator("#measured-here > button").click()
    expect(tab.locator("#measured-here > button")).to_have_attribute("aria-expanded", "true")
    expect(tab.locator("#plot .vega-embed")).to_have_attribute("aria-label", PLOTTED)
    name = EXAMPLES[0].stem.replace("_", " ")
    expect(tab.locator("#examples button").first).to_have_attribute("aria-label", name)
    nameless = "(all) => all.filter((image) => !image.alt && !image.closest('button, a')).length"
    assert tab.locator("img").evaluate_all(nameless) == 0


PLOTTED = re.compile(r"caformer_b36\.sail_in22k_ft_in1k_384: \d+\.\d ms, 74\.8%; ")


RECORD = """() => {
  const node = document.querySelector("#announcer");
  window.announced = [];
  const record = () => node.textContent && window.announced.push(node.textContent);
  new MutationObserver(record).observe(node, { childList: true });
}"""


def test_answer_is_announced_once_and_progress_is_not(page):
    page.evaluate(RECORD)
    answered(page)
    show_labels(page, 5)
    expect(page.locator("#result li")).to_have_count(5)
    click_example(page, EXAMPLES[6])
    expect(page.locator("#result .lu-first .lu-label")).to_have_text("macaw")
    compared(page)
    verdict = page.locator("#result .lu-verdict p").first.inner_text()
    page.wait_for_function("window.announced.length > 2")
    castle, macaw, comparison = page.evaluate("window.announced")
    assert castle.startswith("hf-hub:timm/vit_large_patch14_reg4_dinov2.lvd142m: castle, ")
    assert macaw.startswith("hf-hub:timm/vit_large_patch14_reg4_dinov2.lvd142m: macaw, ")
    assert comparison == verdict
    assert page.locator("[aria-live], [role=status]").locator("visible=true", has_text="castle").count() == 0


# --- the keyboard ---

STOP = """() => {
  const stop = document.activeElement, box = stop.getBoundingClientRect();
  const hasRing = (node) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(node);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  };
  return {
    name: stop.ariaLabel || stop.textContent.trim() || stop.title || stop.labels?.[0]?.textContent.trim(),
    id: stop.closest("[id]:not([id=''])")?.id ?? "",
    hasRing: hasRing(stop) || Boolean(stop.closest(".wrap") && hasRing(stop.closest(".wrap"))),
    size: Math.min(box.width, box.height),
  };
}"""


def tab_to(page: Page, name: str, limit: int = 60) -> None:
    """Press Tab until the control with this name has the focus; each stop has a focus ring, a name and 24 px."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP)
        if stop["name"].startswith(name):
            return
        assert all([stop["name"], stop["hasRing"], stop["size"] >= 24]), stop
    raise AssertionError(f"no stop is named {name}")


def test_keyboard_alone_reaches_a_comparison_and_reads_the_table(page):
    tab_to(page, "castle")
    page.keyboard.press("Enter")
    expect(page.locator("#result .lu-ran")).to_be_visible()
    tab_to(page, "Backbone")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#result .lu-ran")).to_contain_text("mobilenetv3_large_100")
    tab_to(page, "Compare with")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#result .lu-card")).to_have_count(2)
    page.keyboard.press("Escape")
    tab_to(page, "Compare all")
    page.keyboard.press("Enter")
    expect(page.locator("#result article")).to_have_count(6)
    expect(page.locator("#comparison-table table")).to_be_visible(timeout=120_000)
    tab_to(page, "range slider")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#result article").first.locator("li")).to_have_count(4)
    tab_to(page, "Comparison table")
    tab_to(page, "Probability")
    page.keyboard.press("Space")
    expect(page.locator("th", has_text="Probability")).to_have_attribute("aria-sort", "ascending")
    tab_to(page, "comparison.csv")
    with page.expect_download():
        page.keyboard.press("Enter")
    tab_to(page, "Accuracy and speed")
    page.keyboard.press("Enter")
    expect(page.locator("#plot .altair[tabindex='0'] svg.marks")).to_be_visible()
    tab_to(page, "Plot")
    tab_to(page, "Link and code")
    page.keyboard.press("Enter")
    expect(page.locator("#python .cm-content")).to_contain_text("timm.create_model")
    tab_to(page, "Plain Python")
    screenshot(page, "keyboard")


@pytest.mark.long
def test_focus_stays_with_the_control_that_is_rendered_again(page):
    answered(page)
    compared(page)
    button = page.locator("#comparison-table thead button", has_text="Probability")
    button.focus()
    page.locator("#examples button").nth(6).evaluate("(example) => example.click()")  # leaves the focus where it is
    expect(page.locator("#result .lu-verdict")).to_contain_text("macaw", timeout=120_000)
    expect(page.locator("#comparison-table thead button", has_text="Probability")).to_be_focused()


def test_focus_of_a_removed_control_goes_beside_it_or_to_the_answer(page):
    answered(page)
    compared(page)
    page.locator("#others .token-remove").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#result article")).to_have_count(5)
    page.wait_for_function(f"({STOP})().name.startsWith('Remove ')")  # it goes there in the next frame
    page.locator("#others .remove-all").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Compare all")).to_be_focused()
    page.get_by_role("button", name="Remove Image").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status .lu-idle")).to_be_visible()
    page.wait_for_function("document.activeElement.closest('#image')")
    answered(page)
    choose(page, "resnet18")
    expect(page.locator("#retry")).to_be_visible()
    page.locator("#retry").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.matches('#status, #result, #retry')")


# --- preferences of the browser ---


# Whether no transition is under way.
STILL = "document.getAnimations().every((each) => !(each instanceof CSSTransition))"


def test_bars_are_visible_in_forced_colors(tab):
    tab.emulate_media(forced_colors="active")
    tab.wait_for_function(STILL)
    bar = Image.open(io.BytesIO(tab.locator("#result .lu-first .lu-track").first.screenshot())).convert("RGB")
    middle = bar.height // 2
    filled, rest = bar.getpixel((bar.width // 10, middle)), bar.getpixel((bar.width - bar.width // 20, middle))
    assert sum(abs(a - b) for a, b in zip(filled, rest, strict=True)) > 200
    screenshot(tab, "forced_colors")
    tab.emulate_media(forced_colors="none")


def test_reduced_motion_stops_every_animation(tab):
    tab.emulate_media(reduced_motion="reduce")
    tab.locator("#status .prose").evaluate("(prose, html) => { prose.innerHTML = html; }", rare_states())
    assert tab.locator("#status .lu-pulse").count() == 2
    tab.wait_for_function(STILL)  # of the colours, which the test before has changed
    assert tab.evaluate("document.getAnimations().filter((each) => each.playState === 'running').length") == 0
    assert (
        tab.locator("#result .lu-fill").first.evaluate("(fill) => getComputedStyle(fill).transitionProperty") == "none"
    )

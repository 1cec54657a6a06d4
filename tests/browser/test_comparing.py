"""Comparisons in the browser: two backbones agree, one dissents, one is unavailable, one is slow."""

import csv

import conftest
import pytest
from page_actions import EXAMPLES, FIRST, choose, click_example, screenshot, show_labels
from PIL import Image, ImageOps
from playwright.sync_api import Page, expect
from serving import ROOT, serving, without_hub

CONFIG = f"""
backbones:
  - resnet18
  - {{name: lite0, backbone: "local-dir:{ROOT}/bundled/efficientnet_lite0"}}
  - {{name: lite2, backbone: "local-dir:{ROOT}/bundled/efficientnet_lite2"}}
  - {{name: closeup, backbone: "local-dir:{ROOT}/bundled/efficientnet_lite0", crop_pct: 0.25}}
  - {{name: slow, backbone: vit_large_patch16_224, pretrained: false}}
examples: {ROOT}/examples
"""
ALL = ["lite0", "lite2", "closeup", "resnet18"]
CASTLE, MACAW = (ROOT / "examples" / f"{name}.jpg" for name in ("castle", "macaw"))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    home = tmp_path_factory.mktemp("comparing")
    (home / "config.yaml").write_text(CONFIG)
    with serving(home / "config.yaml", without_hub(home), home / "log.txt") as app:
        yield app.url


@pytest.fixture(scope="module")
def two_things(tmp_path_factory):
    """Return the path of a castle with a small macaw at its centre, the only part in the crop of `closeup`."""
    image = Image.open(CASTLE)
    size = min(image.size) // 4
    macaw = ImageOps.fit(Image.open(MACAW), (size, size))
    image.paste(macaw, ((image.width - size) // 2, (image.height - size) // 2))
    path = tmp_path_factory.mktemp("images") / "a castle and a macaw.png"
    image.save(path)
    return path


def compare_with(page: Page, *names: str) -> None:
    for name in names:
        page.locator("#others input").click()
        page.locator("[role=option]", has_text=name).first.click()
    page.keyboard.press("Escape")


@pytest.fixture(scope="module")
def comparison(browser, address, two_things):
    """Return a page with the comparison of `two_things`, which several tests read."""
    for tab in conftest.opened(browser, address):
        compared(tab, two_things)
        yield tab


def verdict(page: Page):
    return page.locator("#result .lu-verdict")


def compared(page: Page, image) -> None:
    choose(page, ALL[0])
    compare_with(page, *ALL[1:])
    page.set_input_files("#image input[type=file]", image)
    expect(page.locator("#comparison-table tbody tr")).to_have_count(len(ALL))


def test_comparison_shows_majority_dissent_and_failure(comparison):
    expect(verdict(comparison)).to_contain_text("2 of 3 say castle, 1 says macaw. resnet18 did not answer.")
    assert verdict(comparison).locator("li").all_inner_texts() == ["castle 2", "macaw 1", "no answer 1"]
    cards = comparison.locator("#result article")
    assert cards.locator("h3").all_inner_texts() == ALL
    assert cards.locator(".lu-first .lu-label").all_inner_texts() == ["castle", "castle", "macaw"]
    assert comparison.locator("#result .lu-dissent h3").all_inner_texts() == ["closeup"]
    expect(comparison.locator("#result .lu-failed")).to_contain_text("cannot be reached; check this machine's network")
    expect(comparison.locator("#retry")).to_be_visible()
    screenshot(comparison, "compared")


@pytest.mark.long
def test_top_k_change_updates_all_cards_without_a_new_run(page):
    choose(page, "lite0")
    compare_with(page, "lite2")
    click_example(page, EXAMPLES[0])
    expect(page.locator("#result .lu-bars li")).to_have_count(6)
    footers = page.locator("#result footer").all_inner_texts()
    show_labels(page, 5)
    expect(page.locator("#result .lu-bars li")).to_have_count(10)
    assert page.locator("#result footer").all_inner_texts() == footers  # unchanged times: no second run


@pytest.mark.long
def test_clearing_the_dropdown_ends_the_comparison(page):
    choose(page, "closeup")
    compare_with(page, "lite2")
    click_example(page, EXAMPLES[0])
    expect(verdict(page)).to_be_visible()
    page.locator("#others .remove-all").click()
    expect(page.locator("#result .lu-ran")).to_contain_text("closeup")
    expect(page.locator("#comparison-table table")).to_have_count(0)


def column(page: Page, heading: str) -> list[str]:
    headings = page.locator("#comparison-table thead th").all_inner_texts()
    index = next(index for index, text in enumerate(headings) if text.strip() == heading)
    return [row.locator("> *").nth(index).inner_text() for row in page.locator("#comparison-table tbody tr").all()]


def test_table_sorts_by_click_with_empty_cells_last(comparison):
    assert column(comparison, "Backbone") == ALL
    heading = comparison.locator("#comparison-table thead button", has_text="Probability")
    heading.click()
    up = [float(cell.rstrip("%")) for cell in column(comparison, "Probability")[:3]]
    assert up == sorted(up)
    assert column(comparison, "Backbone")[-1] == "resnet18"
    heading.click()
    down = [float(cell.rstrip("%")) for cell in column(comparison, "Probability")[:3]]
    assert down == up[::-1]
    assert column(comparison, "Backbone")[-1] == "resnet18"
    screenshot(comparison, "sorted")


def test_csv_download_has_the_rows(comparison, tmp_path):
    with comparison.expect_download() as download:
        comparison.get_by_text("comparison.csv").click()
    download.value.save_as(tmp_path / "comparison.csv")
    with (tmp_path / "comparison.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["backbone"] for row in rows] == ALL
    assert [row["label"] for row in rows] == ["castle", "castle", "macaw", ""]
    assert "cannot be reached" in rows[3]["error"]
    shown = dict(zip(column(comparison, "Backbone"), column(comparison, "Probability"), strict=True))
    for row in rows[:3]:
        assert shown[row["backbone"]] == f"{float(row['probability']):.1%}"


def test_link_in_a_new_tab_restores_the_state(page):
    choose(page, "lite2")
    compare_with(page, "lite0")
    click_example(page, MACAW)
    expect(verdict(page)).to_contain_text("Both say macaw")
    show_labels(page, 2)
    expect(page.locator("#result .lu-bars li")).to_have_count(4)
    page.wait_for_function("location.search.includes('top_k=2')")
    assert f"backbone=lite2&backbone=lite0&top_k=2&example={MACAW.stem}" in page.url
    tab = page.context.new_page()
    tab.goto(page.url)
    expect(verdict(tab)).to_contain_text("Both say macaw")
    assert tab.locator("#result h3").all_inner_texts() == ["lite2", "lite0"]
    expect(tab.locator("#result .lu-bars li")).to_have_count(4)
    expect(tab.locator("#top-k input[type=number]")).to_have_value("2")


def test_link_is_posted_to_the_parent_frame_of_a_space(page, address):
    framed = f'<iframe src="{address}?backbone=lite2" style="width:1200px;height:900px"></iframe>'
    page.route("**/around", lambda route: route.fulfill(body=framed, content_type="text/html"))
    page.add_init_script(
        "if (window === top) window.postMessage = (...message) => (window.messages ??= []).push(message)"
    )
    page.goto(f"{address}around")
    inside = page.frame_locator("iframe")
    expect(inside.locator("#status")).to_contain_text("lite2 is ready")
    inside.locator("#examples button.thumbnail-item").first.click()
    inside.locator(FIRST).wait_for(timeout=30_000)
    page.wait_for_function("window.messages?.some(([data]) => data.queryString?.includes('example='))")
    data, origin = page.evaluate("window.messages.findLast(([data]) => data.queryString)")
    assert data["queryString"].startswith("?backbone=lite2&top_k=3&example=")
    assert origin == "https://huggingface.co"


def test_invalid_link_is_reported(page, address):
    page.goto(f"{address}?backbone=resnet1&backbone=lite2&top_k=x&example=nothing")
    expect(page.locator("#notice")).to_contain_text("this line-up has no resnet1")
    expect(page.locator("#notice")).to_contain_text("there is no example 'nothing'")
    expect(page.locator("#status")).to_contain_text("lite2 is ready")


def test_concurrent_sessions_do_not_mix_their_cards(page, other):
    for tab, names in ((page, ["lite0", "lite2"]), (other, ["lite2", "closeup"])):
        choose(tab, names[0])
        compare_with(tab, names[1])
    click_example(page, CASTLE)
    click_example(other, MACAW)
    expect(verdict(page)).to_contain_text("Both say castle")
    expect(verdict(other)).to_contain_text("macaw")
    assert page.locator("#result h3").all_inner_texts() == ["lite0", "lite2"]
    assert other.locator("#result h3").all_inner_texts() == ["lite2", "closeup"]


def test_phone_stacks_the_cards_without_horizontal_scrolling(phone, two_things):
    compared(phone, two_things)
    for section in ("#measured-here", "#take-along"):
        phone.locator(f"{section} > button").click()
    expect(phone.locator("#python .cm-content")).to_contain_text("timm.create_model")
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    boxes = [card.bounding_box() for card in phone.locator("#result article").all()]
    assert len({box["x"] for box in boxes}) == 1
    assert all(box["width"] > 300 for box in boxes)
    expect(phone.locator("#comparison-table tbody th").first).to_have_css("white-space", "normal")  # long names wrap
    screenshot(phone, "phone_compared")


def test_measurement_runs_and_can_be_stopped(page):
    click_example(page, EXAMPLES[0])
    page.locator("#measured-here > button").click()
    page.locator("#measure").click()
    expect(page.locator("#measured")).to_contain_text("Loading slow")
    expect(page.locator("#plot canvas, #plot svg.marks").first).to_be_visible()
    page.locator("#stop").click()
    expect(page.locator("#measured")).to_contain_text("Stopped")
    screenshot(page, "measured")

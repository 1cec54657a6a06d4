"""Comparing backbones, clicked: two agree, one dissents, one cannot be had, and one is slow."""

import csv

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Page, expect
from serving import ROOT, serving, without_hub
from visiting import EXAMPLES, FIRST, choose, click_example, keep, show_labels

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
    """Return a castle with a small macaw in its middle, which is all that `closeup` sees."""
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


def verdict(page: Page):
    return page.locator("#result .lu-verdict")


def compared(page: Page, image) -> None:
    choose(page, ALL[0])
    compare_with(page, *ALL[1:])
    page.set_input_files("#image input[type=file]", image)
    expect(verdict(page)).to_be_visible(timeout=60_000)


def test_two_agree_one_dissents_and_one_cannot_be_had(page, two_things):
    compared(page, two_things)
    expect(verdict(page)).to_contain_text("2 of 3 say castle, 1 says macaw. resnet18 did not answer.")
    assert verdict(page).locator("li").all_inner_texts() == ["castle 2", "macaw 1", "no answer 1"]
    cards = page.locator("#result article")
    assert cards.locator("h3").all_inner_texts() == ALL
    assert cards.locator(".lu-first .lu-label").all_inner_texts() == ["castle", "castle", "macaw"]
    assert page.locator("#result .lu-dissent h3").all_inner_texts() == ["closeup"]
    expect(page.locator("#result .lu-failed")).to_contain_text("cannot be reached; check this machine's network")
    expect(page.locator("#retry")).to_be_visible()
    keep(page, "compared")


def test_another_top_k_shows_more_labels_in_every_card_and_does_not_run_again(page):
    choose(page, "lite0")
    compare_with(page, "lite2")
    click_example(page, EXAMPLES[0])
    expect(page.locator("#result .lu-bars li")).to_have_count(6, timeout=30_000)
    footers = page.locator("#result footer").all_inner_texts()
    show_labels(page, 5)
    expect(page.locator("#result .lu-bars li")).to_have_count(10)
    assert page.locator("#result footer").all_inner_texts() == footers  # the same milliseconds: the same run


def test_one_click_ends_a_comparison(page):
    choose(page, "closeup")
    compare_with(page, "lite2")
    click_example(page, EXAMPLES[0])
    expect(verdict(page)).to_be_visible(timeout=30_000)
    page.locator("#others .remove-all").click()
    expect(page.locator("#result .lu-ran")).to_contain_text("closeup", timeout=30_000)
    expect(page.locator("#figures table")).to_have_count(0)


def column(page: Page, heading: str) -> list[str]:
    heads = page.locator("#figures thead th").all_inner_texts()
    place = next(index for index, head in enumerate(heads) if head.strip() == heading)
    return [row.locator("> *").nth(place).inner_text() for row in page.locator("#figures tbody tr").all()]


def test_the_table_is_sorted_by_a_click_and_empty_cells_stay_last(page, two_things):
    compared(page, two_things)
    assert column(page, "Backbone") == ALL
    heading = page.locator("#figures thead button", has_text="Probability")
    heading.click()
    up = [float(cell.rstrip("%")) for cell in column(page, "Probability")[:3]]
    assert up == sorted(up)
    assert column(page, "Backbone")[-1] == "resnet18"
    heading.click()
    down = [float(cell.rstrip("%")) for cell in column(page, "Probability")[:3]]
    assert down == up[::-1]
    assert column(page, "Backbone")[-1] == "resnet18"
    keep(page, "sorted")


def test_the_csv_downloads_and_reads_back(page, two_things, tmp_path):
    compared(page, two_things)
    with page.expect_download() as download:
        page.get_by_text("comparison.csv").click()
    download.value.save_as(tmp_path / "comparison.csv")
    with (tmp_path / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["backbone"] for row in rows] == ALL
    assert [row["label"] for row in rows] == ["castle", "castle", "macaw", ""]
    assert "cannot be reached" in rows[3]["error"]
    shown = [f"{float(row['probability']):.1%}" for row in rows[:3]]
    assert column(page, "Probability")[:3] == shown


def test_the_address_opened_in_a_new_tab_restores_everything(page):
    choose(page, "lite2")
    compare_with(page, "lite0")
    click_example(page, MACAW)
    expect(verdict(page)).to_contain_text("Both say macaw", timeout=30_000)
    show_labels(page, 2)
    expect(page.locator("#result .lu-bars li")).to_have_count(4)
    page.wait_for_function("location.search.includes('top_k=2')")
    assert f"backbone=lite2&backbone=lite0&top_k=2&example={MACAW.stem}" in page.url
    tab = page.context.new_page()
    tab.goto(page.url)
    expect(verdict(tab)).to_contain_text("Both say macaw", timeout=60_000)
    assert tab.locator("#result h3").all_inner_texts() == ["lite2", "lite0"]
    expect(tab.locator("#result .lu-bars li")).to_have_count(4)
    expect(tab.locator("#top-k input[type=number]")).to_have_value("2")


def test_in_the_frame_of_a_space_the_address_around_it_follows(page, address):
    framed = f'<iframe src="{address}?backbone=lite2" style="width:1200px;height:900px"></iframe>'
    page.route("**/around", lambda route: route.fulfill(body=framed, content_type="text/html"))
    page.add_init_script("if (window === top) window.postMessage = (...said) => (window.heard ??= []).push(said)")
    page.goto(f"{address}around")
    inside = page.frame_locator("iframe")
    expect(inside.locator("#status")).to_contain_text("lite2 is ready", timeout=30_000)
    inside.locator("#examples button.thumbnail-item").first.click()
    inside.locator(FIRST).wait_for(timeout=30_000)
    page.wait_for_function("window.heard?.some(([said]) => said.queryString?.includes('example='))")
    said, to = page.evaluate("window.heard.findLast(([said]) => said.queryString)")
    assert said["queryString"].startswith("?backbone=lite2&top_k=3&example=")
    assert to == "https://huggingface.co"


def test_a_link_that_does_not_fit_is_told(page, address):
    page.goto(f"{address}?backbone=resnet1&backbone=lite2&top_k=x&example=nothing")
    expect(page.locator("#notice")).to_contain_text("this line-up has no resnet1", timeout=30_000)
    expect(page.locator("#notice")).to_contain_text("there is no example 'nothing'")
    expect(page.locator("#status")).to_contain_text("lite2 is ready", timeout=30_000)


def test_two_visitors_never_see_each_others_cards(page, other):
    for visitor, names in ((page, ["lite0", "lite2"]), (other, ["lite2", "closeup"])):
        choose(visitor, names[0])
        compare_with(visitor, names[1])
    click_example(page, CASTLE)
    click_example(other, MACAW)
    expect(verdict(page)).to_contain_text("Both say castle", timeout=30_000)
    expect(verdict(other)).to_contain_text("macaw", timeout=30_000)
    assert page.locator("#result h3").all_inner_texts() == ["lite0", "lite2"]
    assert other.locator("#result h3").all_inner_texts() == ["lite2", "closeup"]


def test_a_phone_shows_a_comparison_card_under_card_without_scrolling_sideways(phone, two_things):
    compared(phone, two_things)
    for section in ("#measured-here", "#take-along"):
        phone.locator(f"{section} > button").click()
    expect(phone.locator("#python .cm-content")).to_contain_text("timm.create_model", timeout=30_000)
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    boxes = [card.bounding_box() for card in phone.locator("#result article").all()]
    assert len({box["x"] for box in boxes}) == 1
    assert all(box["width"] > 300 for box in boxes)
    keep(phone, "phone_compared")


def test_the_line_up_is_measured_and_can_be_stopped(page):
    click_example(page, EXAMPLES[0])
    page.locator("#measured-here > button").click()
    page.locator("#measure").click()
    expect(page.locator("#measured")).to_contain_text("slow is getting ready", timeout=60_000)
    expect(page.locator("#plot canvas, #plot svg.marks").first).to_be_visible(timeout=30_000)
    page.locator("#stop").click()
    expect(page.locator("#measured")).to_contain_text("Stopped")
    keep(page, "measured")

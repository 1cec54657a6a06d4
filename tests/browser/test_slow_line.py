"""Every control on a line with 400 ms of latency, operated twice in a row: the page ends with the last wish."""

import re

import pytest
from page_actions import BACKBONES, EXAMPLES, FIRST, choose, click_example, holding, label_of, settle, show_labels
from playwright.sync_api import expect

LATENCY_MS = 400
CASTLE, COFFEE, PANDA = EXAMPLES[:3]


@pytest.fixture(scope="module")
def slow_tab(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab, errors = context.new_page(), []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(address)
    tab.locator("#notice .lu-notice").wait_for(timeout=240_000)
    devtools = context.new_cdp_session(tab)
    devtools.send("Network.enable")
    slow = {"offline": False, "latency": LATENCY_MS, "downloadThroughput": -1, "uploadThroughput": -1}
    devtools.send("Network.emulateNetworkConditions", slow)
    yield tab
    context.close()
    assert errors == []


@pytest.fixture
def tab(slow_tab):
    """Return the page with the answer of the first backbone to the first example."""
    if slow_tab.locator("#others .remove-all").is_visible():
        remove_others(slow_tab)
    choose(slow_tab, BACKBONES[0])
    click_example(slow_tab, CASTLE)
    expect(slow_tab.locator("#result .lu-ran")).to_contain_text(BACKBONES[0])
    settle(slow_tab)
    expect(slow_tab.locator(FIRST)).to_have_text(label_of(CASTLE))
    return slow_tab


def upload(tab, example):
    tab.set_input_files("#image input[type=file]", example)


def clear(tab):
    tab.locator("#image").get_by_label("Remove Image").click()


def add(tab, backbone):
    tab.locator("#others input").click()
    tab.locator("[role=option]", has_text=backbone).first.click()


def remove_others(tab):
    tab.locator("#others .remove-all").click()


def open_measurement(tab):
    if not tab.locator("#measure").is_visible():
        tab.locator("#measured-here > button").click()


def test_last_of_two_examples_stays(tab):
    for first, last in ((COFFEE, PANDA), (PANDA, COFFEE)):
        click_example(tab, first)
        click_example(tab, last)
        settle(tab)
        expect(tab.locator(FIRST)).to_have_text(label_of(last))
        expect(tab).to_have_url(re.compile(f"example={last.stem}$"))


def test_clearing_wins_over_an_example_on_its_way(tab):
    click_example(tab, COFFEE)
    clear(tab)
    settle(tab)
    expect(tab.locator("#result li")).to_have_count(0)
    expect(tab.locator("#status")).to_contain_text("is ready")
    expect(tab.locator("#image .image-frame img")).to_have_count(0)


def test_example_wins_over_an_upload_that_ends_later(tab):
    clear(tab)
    upload(tab, PANDA)
    click_example(tab, COFFEE)
    settle(tab)
    expect(tab.locator(FIRST)).to_have_text(label_of(COFFEE))
    expect(tab.locator("#image .image-frame img")).to_have_attribute("src", re.compile(COFFEE.name))


def test_upload_wins_over_an_example_clicked_before(tab):
    clear(tab)
    click_example(tab, COFFEE)
    upload(tab, PANDA)
    settle(tab)
    expect(tab.locator(FIRST)).to_have_text(label_of(PANDA))


def test_last_backbone_number_of_labels_and_retry_stay(tab):
    choose(tab, BACKBONES[1])
    choose(tab, BACKBONES[0])
    show_labels(tab, 7)
    choose(tab, BACKBONES[1])
    show_labels(tab, 5)
    settle(tab)
    expect(tab.locator("#result .lu-ran")).to_contain_text(BACKBONES[1])
    expect(tab.locator("#result li")).to_have_count(5)
    expect(tab).to_have_url(re.compile(f"backbone={BACKBONES[1]}&top_k=5"))
    choose(tab, "resnet18 ")
    expect(tab.locator("#retry")).to_be_visible()
    tab.locator("#retry").click()
    tab.locator("#retry").click()
    choose(tab, BACKBONES[1])
    show_labels(tab, 3)
    settle(tab)
    expect(tab.locator("#result .lu-ran")).to_contain_text(BACKBONES[1])
    expect(tab.locator("#retry")).not_to_be_visible()
    expect(tab.locator("#result li")).to_have_count(3)


def test_comparison_ends_with_the_last_choice(tab):
    add(tab, BACKBONES[1])
    remove_others(tab)
    settle(tab)
    expect(tab.locator("#result h3")).to_have_count(0)
    expect(tab.locator("#result .lu-ran")).to_contain_text(BACKBONES[0])
    with holding(tab, "**/gradio_api/queue/join*"):  # or the choice might come after the answer
        tab.locator("#compare-all").click()
        tab.locator("#compare-all").click()
        choose(tab, BACKBONES[1])
    settle(tab)
    expect(tab.locator("#result h3")).to_have_text([BACKBONES[1], BACKBONES[0]])
    tab.locator("#compare-all").click()
    remove_others(tab)
    settle(tab)
    expect(tab.locator("#result h3")).to_have_count(0)


def test_compare_all_takes_the_image_that_is_on_its_way(tab):
    clear(tab)
    settle(tab)
    click_example(tab, COFFEE)
    tab.locator("#compare-all").click()
    settle(tab)
    expect(tab.locator("#result .lu-verdict")).to_contain_text(f"Both say {label_of(COFFEE)}")
    expect(tab.locator("#image .image-frame img")).to_have_attribute("src", re.compile(COFFEE.name))
    expect(tab.locator("#compare-all")).not_to_have_attribute("aria-busy", "true")


@pytest.mark.long
def test_compare_all_waits_for_the_state_of_the_link(tab, address):
    tab.goto(f"{address}?backbone={BACKBONES[1]}&example={PANDA.stem}")
    tab.locator("#compare-all").click()
    expect(tab.locator("#result .lu-verdict")).to_contain_text(f"Both say {label_of(PANDA)}")
    settle(tab)
    expect(tab.locator("#result h3")).to_have_text([BACKBONES[1], BACKBONES[0]])
    expect(tab).to_have_url(re.compile(f"example={PANDA.stem}"))


@pytest.mark.long
def test_compare_all_goes_on_when_an_upload_fails(tab):
    clear(tab)
    settle(tab)
    tab.route("**/gradio_api/upload*", lambda route: route.abort())
    upload(tab, PANDA)
    tab.locator("#compare-all").click()
    expect(tab.locator("#result .lu-verdict")).to_contain_text(f"Both say {label_of(CASTLE)}")
    expect(tab.locator("#image-message")).to_contain_text("The upload failed")
    tab.unroute_all()


@pytest.mark.parametrize(
    ("bring", "is_empty"), [(click_example, False), pytest.param(upload, True, marks=pytest.mark.long)]
)
def test_measurement_uses_the_image_that_is_on_its_way(tab, tmp_path, bring, is_empty):
    clear(tab)
    settle(tab)
    if not is_empty:
        (tmp_path / "broken.jpg").write_bytes(CASTLE.read_bytes()[:5000])
        upload(tab, tmp_path / "broken.jpg")
        expect(tab.locator("#status")).to_contain_text("damaged")
    open_measurement(tab)
    bring(tab, COFFEE)
    tab.locator("#measure").click()
    expect(tab.locator("#measured")).to_contain_text("2 measured")
    settle(tab)
    bring(tab, PANDA)
    tab.locator("#measure").click()
    tab.locator("#stop").click()  # before the image has come
    settle(tab)
    expect(tab.locator("#measured")).to_contain_text("Stopped")


def test_measurement_obeys_the_last_click(tab):
    open_measurement(tab)
    measured = tab.locator("#measured")
    tab.locator("#measure").click()
    tab.locator("#stop").click()
    settle(tab)
    expect(measured).to_contain_text("Stopped")
    for button in ("#measure", "#stop", "#measure"):
        tab.locator(button).click()
    settle(tab)
    expect(measured).to_contain_text("2 measured")
    expect(measured).to_contain_text("Not measured: resnet18")

"""A page that stays open while its server is restarted on the same port, with another config."""

import json
import re
import shutil

import pytest
from page_actions import BACKBONES, EXAMPLES, FIRST, choose, click_example, label_of, screenshot, settle, show_labels
from playwright.sync_api import expect
from serving import ROOT, free_port, serving, without_hub

CASTLE, COFFEE = EXAMPLES[:2]


def config(folder, names):
    entries = zip(names, BACKBONES, strict=True)
    backbones = [{"name": name, "backbone": f"local-dir:{ROOT / 'bundled' / target}"} for name, target in entries]
    path = folder / "config.yaml"
    path.write_text(json.dumps({"engine": "torch", "examples": str(ROOT / "examples"), "backbones": backbones}))
    return path


def test_open_page_goes_on_after_a_restart(browser, tmp_path):
    env, port = without_hub(tmp_path), free_port()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    loads = []
    tab.on("load", lambda _: loads.append(1))
    with serving(config(tmp_path, BACKBONES), env, tmp_path / "log.txt", port=port) as app:
        tab.goto(app.url)
        expect(tab.locator("#status")).to_contain_text("is ready", timeout=240_000)
        tab.set_input_files("#image input[type=file]", EXAMPLES[-1])
        expect(tab.locator(FIRST)).to_have_text(label_of(EXAMPLES[-1]))
        choose(tab, BACKBONES[1])
        expect(tab.locator("#result .lu-ran")).to_contain_text(BACKBONES[1])
        settle(tab)

    show_labels(tab, 7)  # while there is no server
    expect(tab.locator("#unreachable")).to_be_visible()
    screenshot(tab, "unreachable")
    show_labels(tab, 5)
    with serving(config(tmp_path, [BACKBONES[0], "renamed"]), env, tmp_path / "log2.txt", port=port) as app:
        expect(tab.locator("#status")).to_contain_text("expected a name of the line-up")
        expect(tab.locator("#unreachable")).to_have_count(0)
        settle(tab)
        tab.locator("#backbone input").click()
        expect(tab.locator("[role=option]")).to_have_count(2)  # those of the new config
        tab.locator("[role=option]", has_text=BACKBONES[0]).click()
        expect(tab.locator("#result li")).to_have_count(5)
        expect(tab.locator(FIRST)).to_have_text(label_of(EXAMPLES[-1]))
        tab.locator("#take-along > button").click()
        expect(tab.locator("#take-along textarea").first).to_have_value(re.compile(f"^{app.url}.*top_k=5$"))
        expect(tab.locator("#client")).to_contain_text(app.url)

        choose(tab, "renamed")
        expect(tab.locator("#result .lu-ran")).to_contain_text("renamed")

        for upload in (tmp_path / "uploads").rglob(EXAMPLES[-1].name):
            if upload.is_file():
                upload.unlink()
        choose(tab, BACKBONES[0])
        expect(tab.locator(".toast-body")).to_contain_text("upload it again")
        click_example(tab, CASTLE)
        expect(tab.locator(FIRST)).to_have_text(label_of(CASTLE))
    assert loads == [1]  # the page was not loaded again
    context.close()


@pytest.mark.long
def test_page_whose_uploads_are_gone_shows_examples_after_a_restart(browser, tmp_path):
    env, port = without_hub(tmp_path), free_port()
    tab = browser.new_context().new_page()
    with serving(config(tmp_path, BACKBONES), env, tmp_path / "log.txt", port=port) as app:
        tab.goto(app.url)
        click_example(tab, CASTLE)
        expect(tab.locator(FIRST)).to_have_text(label_of(CASTLE))
        settle(tab)
    shutil.rmtree(tmp_path / "uploads")
    with serving(config(tmp_path, BACKBONES), env, tmp_path / "log2.txt", port=port):
        show_labels(tab, 5)  # the example is in the upload folder again
        expect(tab.locator("#result li")).to_have_count(5)
        click_example(tab, COFFEE)
        expect(tab.locator(FIRST)).to_have_text(label_of(COFFEE))
    tab.context.close()

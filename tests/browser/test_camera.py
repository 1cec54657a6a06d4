"""The scripts with a camera, alone in a browser: the permission is given late, and every camera is switched off."""

from pathlib import Path

import pytest

from lineup.features.training import html
from lineup.page.templates import read_script, render

STREAM = read_script("camera_stream")
TRIAL = read_script("trial", Path(html.__file__).parent)
CAMERAS = """() => {
  window.asked = [];
  window.cameras = [];
  HTMLMediaElement.prototype.play = async () => {};  // these cameras have no images
  navigator.mediaDevices.getUserMedia = () => new Promise((allow) => asked.push(() => {
    const stream = document.createElement("canvas").captureStream();
    cameras.push(stream.getTracks()[0]);
    allow(stream);
  }));
}"""
RUNNING = "cameras.filter((camera) => camera.readyState === 'live').length"


@pytest.fixture
def opened(browser):
    """Return a function that runs a script on HTML, in a browser whose camera waits for permission."""
    context = browser.new_context()
    page = context.new_page()
    page.route("**/*", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto("http://localhost/")  # others may not use a camera
    page.evaluate(CAMERAS)

    def run(content, script):
        page.evaluate("(content) => { document.body.innerHTML = content; }", content)
        watching = "const element = document.body, trigger = () => {}, watch = () => {};"
        page.evaluate(f"() => {{ {watching} {script} }}")
        return page

    yield run
    context.close()


def allow(page) -> int:
    """Give every permission that is asked for, the last one first, and return the number of cameras that run then."""
    page.evaluate("Promise.all(asked.splice(0).reverse().map((give) => give()))")
    page.evaluate("new Promise((done) => setTimeout(done))")
    return page.evaluate(RUNNING)


def test_clicks_before_the_permission_start_one_camera(opened):
    trial = html.render("trial.html", path="", training="", backbones=["a"], best="a", labels=["cat"])
    page = opened(trial, STREAM + TRIAL)
    button = page.locator("[data-act=camera]")
    button.click()
    button.click()
    assert allow(page) == 1
    page.wait_for_function("document.querySelector('[data-act=camera]').ariaPressed === 'true'")
    button.click()
    assert page.evaluate(RUNNING) == 0


REOPEN = """async () => {
  const dialog = document.querySelector("dialog"), detail = { key: "1", name: "cat" };
  const open = () => document.dispatchEvent(new CustomEvent("lineup-camera", { detail }));
  open();
  const closed = new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  document.querySelector("[data-act=done]").click();
  await closed;
  open();
}"""


def test_dialog_that_is_opened_again_before_the_permission_leaves_no_camera_on(opened):
    page = opened(render("camera.html"), STREAM + read_script("camera"))
    page.evaluate(REOPEN)
    assert allow(page) == 1
    page.locator("[data-act=take]:enabled").wait_for()
    page.locator("[data-act=done]").click()
    page.wait_for_function(f"{RUNNING} === 0")

"""The listeners of the page of trainings: Gradio empties the outputs of one that yields nothing."""

import asyncio

import gradio as gr
import pytest

from lineup.features.training.handlers import PageState
from lineup.features.training.panel import TrainingPage
from lineup.features.training.run import Trainings
from lineup.page.folder_uploads import Uploads
from lineup.page.image_classes import Collections


@pytest.fixture
def page(make_service, fakes, tmp_path):
    service = make_service("backbones: ['fake:a', 'fake:b']")
    uploads = Uploads(service, tmp_path / "up", lambda config: config.training)
    page = TrainingPage(Trainings(service), Collections(service, tmp_path / "classes"), uploads)
    with gr.Blocks() as demo:
        page.build()
        page.wire(demo)
    return page


def changes(listener, *inputs):
    async def collect():
        return [each async for each in listener(*inputs)]

    return asyncio.run(collect())


def test_second_click_changes_nothing(page):
    state = PageState(is_starting=True, is_adding=True)
    assert changes(page._listener(page.handlers.start), "", state, ["fake:a"]) == [{page.missing: gr.skip()}]
    assert changes(page._add, "", state, ["fake:a"], "fake:a", "zoo") == [{page.texts: gr.skip()}]


def test_listener_overtaken_by_a_later_event_does_not_repeat_its_last_changes(page):
    async def overtaken(state):
        yield {"status": "old"}
        state.begin("training")

    assert changes(page._listener(overtaken), "", PageState(), [])[1:] == [{page.missing: gr.skip()}]


def test_selection_that_the_browser_has_not_yet_is_not_lost(page):
    state = PageState(collection=page.handlers.collections.create(), names=["fake:a"])
    event = type("Event", (), {"action": "add-class"})()
    asyncio.run(page._event(page.handlers.edit)("", state, [], event))
    assert state.names == ["fake:a"]
    asyncio.run(page._selected("", state, []))
    assert state.names == []

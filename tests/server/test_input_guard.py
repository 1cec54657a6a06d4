"""A page whose Gradio would not check the paths in requests does not start. test_hostile.py sends such paths."""

import gradio as gr
import pytest

from lineup.errors import LineupError
from lineup.page.connections import Connections
from lineup.server.input_guard import restrict_inputs


async def preprocess_data(self, block_fn, inputs, session, state, explicit_call=False): ...


async def process_api(self, inputs, block_fn, state=None):
    await self.preprocess_data(block_fn, inputs, state)


async def process_api_of_another_name(self, block_fn, inputs, state=None):
    await self.preprocess(block_fn, inputs, state)


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("preprocess_data", preprocess_data, "Blocks.preprocess_data takes block_fn, inputs, state, explicit_call; in"),
        ("process_api", process_api, "Blocks.process_api takes block_fn, inputs, state; in"),
        ("process_api", process_api_of_another_name, "Blocks.process_api calls preprocess_data; in"),
    ],
)
def test_unknown_gradio_is_an_error(monkeypatch, name, method, expected):
    method.__name__ = name
    monkeypatch.setattr(gr.Blocks, name, method)
    with pytest.raises(LineupError) as caught:
        restrict_inputs(gr.Blocks(), Connections())
    assert str(caught.value).startswith(f"gradio: expected a version whose {expected} {gr.__version__} it ")
    assert str(caught.value).endswith("the paths in requests could not be checked")


def test_known_gradio_is_patched():
    demo = gr.Blocks()
    before = demo.preprocess_data
    restrict_inputs(demo, Connections())
    assert demo.preprocess_data.__wrapped__ == before

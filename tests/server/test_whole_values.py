"""Updates of components are sent as whole values."""

import gradio
import gradio.utils
import pytest

from lineup.server.whole_values import difference, send_whole_values


@pytest.mark.parametrize("new", [{"visible": True}, {}, "ab", "", [1], None])
@pytest.mark.parametrize("old", [{"visible": False}, {"choices": ["a"]}, "a", [1, 2], None])
def test_newer_value_replaces_the_whole_of_the_last_one(old, new):
    assert difference(old, new) == ([] if old == new else [["replace", [], new]])


def test_gradio_sends_these_differences(monkeypatch):
    monkeypatch.setattr(gradio.utils, "diff", gradio.utils.diff)  # restored after the test
    send_whole_values()
    demo = gradio.Blocks()
    demo.pending_diff_streams["session"] = {"run": [{"visible": False}]}
    sent = demo.handle_streaming_diffs(Outputs(), [{"visible": True}], "session", "run", final=False)
    assert sent == [[["replace", [], {"visible": True}]]]


class Outputs:
    """A listener with one output."""

    outputs = (None,)

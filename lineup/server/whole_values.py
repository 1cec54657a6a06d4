"""The values of components are sent whole, not as differences from the last ones."""

from typing import Any

import gradio.utils


def send_whole_values() -> None:
    """Replace Gradio's differences between the updates of an event (gradio/utils.py:1616).

    The browser applies them in place. Of several updates that arrive at once, as on a slow line, the last one then
    changes the values of those that are not shown yet: a button that an update shows would stay hidden.
    """
    gradio.utils.diff = difference


def difference(old: object, new: object) -> list[list[Any]]:
    """Return the edits that turn a value into a newer one, in Gradio's format: none, or one that replaces it."""
    return [] if old == new else [["replace", [], new]]

"""HTML with blocks of code, each of which has a button that copies it: `code` in templates/macros.html."""

import gradio as gr

from lineup.page.templates import read_script


def code_field(elem_id: str) -> gr.HTML:
    """Create the component."""
    return gr.HTML(js_on_load=read_script("copying"), elem_id=elem_id)

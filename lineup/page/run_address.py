"""The id of a long run in the address of its page, which finds it again."""

from urllib.parse import parse_qs, urlsplit

import gradio as gr

from lineup.page.templates import read_script


def run_field() -> gr.HTML:
    """Create the component whose value is the id that the address shows; it takes no space."""
    return gr.HTML(html_template="", js_on_load=read_script("run_address"), elem_id="run")


def run_of(request: gr.Request) -> str:
    """Return the id in the address that the browser shows; empty if there is none."""
    query = parse_qs(urlsplit(str(request.headers.get("referer", ""))).query)
    # the query of a request is that of the address at its load
    return str(query.get("run", [request.query_params.get("run") or ""])[0])

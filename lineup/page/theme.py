"""The Gradio theme, the path of the CSS file, and the page's JavaScript."""

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("style.css")
_SCRIPTS = ("page.js", "refusals.js", "drop.js", "accessibility.js")
JS = "\n".join(CSS.with_name(name).read_text(encoding="utf-8") for name in _SCRIPTS)
HEAD = f"<script>{Path(__file__).with_name('requests.js').read_text(encoding='utf-8')}</script>"

THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.indigo,
    secondary_hue=gr.themes.colors.violet,
    neutral_hue=gr.themes.colors.slate,
    radius_size=gr.themes.sizes.radius_lg,
    # system fonts: no requests to font servers
    font=["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
).set(
    # a contrast of at least 4.5, on the background of inputs too
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="#a8b5c8",
    input_placeholder_color="*neutral_600",
    input_placeholder_color_dark="#a8b5c8",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_hover_dark="*primary_700",
)

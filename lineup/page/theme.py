"""The Gradio theme, and the paths of the CSS and JavaScript files."""

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("style.css")
JS = Path(__file__).with_name("page.js").read_text(encoding="utf-8")

THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.indigo,
    secondary_hue=gr.themes.colors.violet,
    neutral_hue=gr.themes.colors.slate,
    radius_size=gr.themes.sizes.radius_lg,
    # system fonts: no requests to font servers
    font=["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
).set(body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400")

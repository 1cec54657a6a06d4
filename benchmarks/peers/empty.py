"""The overhead of Gradio itself: an app that returns a constant label for every image."""

import gradio as gr


def predict(path):
    """Return a constant label."""
    return {"a label": 1.0}


gr.Interface(fn=predict, inputs=gr.Image(type="filepath"), outputs=gr.Label(num_top_classes=3)).launch()

"""The Gradio page: components, events and HTML. app.py assembles it; features add panels."""

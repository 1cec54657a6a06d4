"""The frame of the page in Gradio; app.py assembles it, and features add panels."""

"""Schema and validation of config.yaml, without importing torch or gradio."""

from lineup.config.loading import build, load
from lineup.config.models import Config, Entry, Example, Limits, Space

__all__ = ["Config", "Entry", "Example", "Limits", "Space", "build", "load"]

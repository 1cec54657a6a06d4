"""Schema and validation of config.yaml, without importing torch or gradio."""

from lineup.config.loading import build, load
from lineup.config.models import SAID_ELSEWHERE, Activation, Config, CropMode, Entry, Example, Limits, Space
from lineup.config.sections import Feedback

__all__ = [
    "SAID_ELSEWHERE",
    "Activation",
    "Config",
    "CropMode",
    "Entry",
    "Example",
    "Feedback",
    "Limits",
    "Space",
    "build",
    "load",
]

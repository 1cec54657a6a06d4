"""The config: what config.yaml may say, checked before anything heavy is imported."""

from lineup.config.loading import build, load
from lineup.config.models import Config, Entry, Example, Limits, Space

__all__ = ["Config", "Entry", "Example", "Limits", "Space", "build", "load"]

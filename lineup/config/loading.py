"""Reads config.yaml and validates it: every problem at once, each with its position."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import (
    ValidationError,
)

from lineup.config import yaml_source
from lineup.config.models import Config
from lineup.config.problems import explain, location
from lineup.config.yaml_source import Document
from lineup.errors import ConfigError, did_you_mean


def load(path: Path) -> Config:
    """Read and validate a config file.

    Raises:
        ConfigError: with every problem found, each with its file, line and column.
    """
    return build(yaml_source.read(path), path.parent)


def build(source: Document, folder: Path) -> Config:
    """Validate a document that was read already; relative paths start at `folder`."""
    values = {} if source.values is None else source.values
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        found = sorted(error.errors(), key=lambda problem: source.position(location(source, problem)))
        told = dict.fromkeys(explain(source, problem) for problem in found)  # once each
        raise ConfigError(*source.problems, *told) from None
    problems = (*source.problems, *_misnamed(config, source))
    if problems:
        raise ConfigError(*problems)
    config._folder = folder
    config._document = source
    return config


def _misnamed(config: Config, source: Document) -> Iterator[str]:
    names = [entry.name for entry in config.backbones]
    for index, name in enumerate(names):
        if name in names[:index]:
            where = source.where(("backbones", index))
            yield f"{where}: expected each name once; got {name!r} again; give one of the two another `name`"
    if config.default and config.default not in names:
        hint = did_you_mean(config.default, names) or f"use one of: {', '.join(dict.fromkeys(names))}"
        yield f"{source.where(('default',))}: expected the name of an entry; got {config.default!r}; {hint}"

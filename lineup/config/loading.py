"""Loads and validates config.yaml, reporting all problems at once, each with its position."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from lineup.config import feedback_target, yaml_source
from lineup.config.models import Config
from lineup.config.problems import explain, location
from lineup.config.yaml_source import Document
from lineup.errors import ConfigError, did_you_mean


def load(path: Path) -> Config:
    """Read and validate a config file.

    Raises:
        ConfigError: with every problem, each with file, line and column.
    """
    return build(yaml_source.read(path), path.parent)


def build(source: Document, folder: Path) -> Config:
    """Validate a parsed document; relative paths are resolved against `folder`."""
    values = {} if source.values is None else source.values
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        details = sorted(error.errors(), key=lambda detail: source.position(location(source, detail)))
        messages = dict.fromkeys(explain(source, detail) for detail in details)  # without duplicates
        raise ConfigError(*source.problems, *messages) from None
    problems = (*source.problems, *_name_problems(config, source), *_feedback_problems(config, source, folder))
    if problems:
        raise ConfigError(*problems)
    config._folder = folder
    config._document = source
    return config


def _name_problems(config: Config, source: Document) -> Iterator[str]:
    names = [entry.name for entry in config.backbones]
    for index, name in enumerate(names):
        if name in names[:index]:
            where = source.where(("backbones", index))
            yield f"{where}: expected each name once; got {name!r} again; give one of the two another `name`"
    if config.default and config.default not in names:
        hint = did_you_mean(config.default, names) or f"use one of: {', '.join(dict.fromkeys(names))}"
        yield f"{source.where(('default',))}: expected the name of an entry; got {config.default!r}; {hint}"


def _feedback_problems(config: Config, source: Document, folder: Path) -> Iterator[str]:
    """Yield a problem if the folder of feedback is one that is served, or uploaded with a Space."""
    if not config.feedback.to or config.feedback.repo:
        return
    examples = [config.examples] if isinstance(config.examples, str) else []
    files = [] if examples else [example.image for example in config.examples if not isinstance(example, str)]
    uploaded = [entry.spec.target for entry in config.backbones if entry.spec.source == "local-dir"]
    problem = feedback_target.folder_problem(config.feedback.to, folder, [*examples, *uploaded], files)
    if problem:
        yield f"{source.where(('feedback', 'to'))}: {problem}"

"""What a replica needs to know: a config as text, and the folder that its paths are relative to."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineup import config
from lineup.config import Config, Entry, Feedback, yaml_source
from lineup.errors import BackboneError, ConfigError
from lineup.inference.cluster import COMMAND


@dataclass(frozen=True)
class Settings:
    """A config on its way to other machines, which need its files at the same paths.

    Attributes:
        text: the content of the config file.
        folder: the absolute path of its folder.
        name: the name of the file, for error messages.
    """

    text: str
    folder: str
    name: str = "config.yaml"

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """Read a config file.

        Raises:
            ConfigError: when it cannot be read.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: expected a config file; {error}; check the path") from None
        return cls(text, str(path.parent.resolve()), path.name)

    def read_config(self) -> Config:
        """Return the config as it is; raise ConfigError."""
        return config.build(yaml_source.parse(self.text, self.name), Path(self.folder))

    def of_replica(self) -> Config:
        """Return the config of a replica: its backbones, engine and limits, and no cluster.

        Raises:
            ConfigError: when it is invalid.
        """
        without: dict[str, Any] = {"cluster": None, "examples": [], "feedback": Feedback()}  # type: ignore[call-arg]
        return self.read_config().model_copy(update=without)


def digest(config: Config, entry: Entry) -> str:
    """Identify what an entry of a config computes, so that page and cluster find out that their configs differ."""
    parts = [entry.model_dump(mode="json"), config.engine, config.precision, config.device]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def check_same(name: str, here: str, there: str) -> None:
    """Raise a BackboneError if an entry in the config of the page is another one in that of the cluster."""
    if here != there:
        remedy = f"run {COMMAND} with the page's config, or restart the page with the cluster's"
        raise BackboneError(name, "the same entry in the cluster's config", "its config has another one", remedy)


def check_files(config: Config, entry: Entry, node: str) -> None:
    """Raise a BackboneError if a node lacks a local file of an entry."""
    spec = entry.spec
    paths = [entry.checkpoint, entry.labels if isinstance(entry.labels, str) else None]
    paths.append(spec.target if spec.source == "local-dir" else None)
    for path in filter(None, paths):
        if not (found := config.folder / path).exists():
            raise BackboneError(
                entry.name,
                f"{found} on every node of the cluster",
                f"{node} does not have it",
                "put it there at the same path, or share the folder between the nodes",
            )

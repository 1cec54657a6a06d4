"""What timm publishes: weights, the classes that they are for, and their figures."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import timm
from timm.data import resolve_data_config
from timm.models import get_model_args, get_pretrained_cfg
from torch import nn
from torch.hub import get_dir

from lineup.config import Entry
from lineup.hub import files
from lineup.registry import known_weights, published, timm_transform, weights_folder
from lineup.registry.known_weights import Candidate
from lineup.registry.meta_device import on_meta_device
from lineup.registry.plan import Context


def is_published(entry: Entry, context: Context, full_name: str, file: files.Weights) -> bool:
    """Return whether timm publishes the weights under this name, and not only the config.json that they come with."""
    if entry.source == "timm":
        return True
    if full_name not in timm.list_pretrained(full_name):
        return False
    candidate = _candidate(full_name, asdict(get_pretrained_cfg(full_name)), {})
    return _is_own_repository(entry, full_name) or bool(known_weights.find(file, context, [candidate]))


def _is_own_repository(entry: Entry, full_name: str) -> bool:
    """Return whether an entry is timm's own repository of these weights, at its current revision."""
    return entry.spec[:2] == ("hf-hub", f"timm/{full_name}") and entry.spec.revision in (None, "main")


def figures_of(
    entry: Entry, context: Context, cfg: Mapping[str, Any], full_name: str, network: nn.Module, file: files.Weights
) -> tuple[Mapping[str, float], str]:
    """Return the figures published for the weights of a plan, and a note.

    A download by timm's name is verified, so that the name is sufficient. Any other config.json may have been edited,
    and any other file replaced: transform and network are compared, and the hash of the file decides, except in timm's
    own repository at its current revision.
    """
    if entry.source == "timm":
        known = _transform_settings(cfg, entry) == _transform_settings(cfg) and known_weights.verified(file)
        size = timm_transform.size_of(timm_transform.data_config(entry, cfg))
        return published.published(full_name, size) if known else {}, ""
    architecture, num_classes = full_name.partition(".")[0], cfg["num_classes"]
    candidates = candidates_for(entry, cfg, architecture, num_classes)
    if candidates:
        default = partial(
            timm.create_model, architecture, num_classes=num_classes, **timm_transform.size_arguments(entry, cfg)
        )
        if get_model_args(network) != get_model_args(on_meta_device(default)):
            return {}, ""  # with another pooling, for example, the same weights give other predictions
    if _is_own_repository(entry, full_name):
        return next((known.figures for known in candidates if known.name == full_name), {}), ""
    return known_weights.figures(file, context, candidates)


def candidates_for(entry: Entry, cfg: Mapping[str, Any], architecture: str, num_classes: int) -> list[Candidate]:
    """Return the published weights of an architecture with figures, this number of classes, and the same transform."""
    size, candidates = timm_transform.size_of(timm_transform.data_config(entry, cfg)), []
    for full_name in timm.list_pretrained(f"{architecture}.*"):
        published_cfg, figures = asdict(get_pretrained_cfg(full_name)), published.published(full_name, size)
        if (
            figures
            and published_cfg["num_classes"] == num_classes
            and _transform_settings(published_cfg) == _transform_settings(cfg, entry)
        ):
            candidates.append(_candidate(full_name, published_cfg, figures))
    return candidates


def _candidate(full_name: str, published_cfg: Mapping[str, Any], figures: Mapping[str, float]) -> Candidate:
    file = weights_file(published_cfg)
    hub_file = file if isinstance(file, files.HubFile) else None
    return Candidate(full_name, figures, files.sha256_in_name(published_cfg["url"] or ""), hub_file)


def _transform_settings(cfg: Mapping[str, Any], entry: Entry | None = None) -> dict[str, Any]:
    """Return the settings of the transform without the size, which the figures depend on separately."""
    data = timm_transform.data_config(entry, cfg) if entry else resolve_data_config({}, pretrained_cfg=dict(cfg))
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key != "input_size"
    }


def weights_file(cfg: Mapping[str, Any]) -> files.Weights:
    """Return the file that timm downloads for a pretrained config."""
    if cfg["hf_hub_id"]:
        names = (cfg["hf_hub_filename"],) if cfg["hf_hub_filename"] else weights_folder.PREFERRED
        repo, _, revision = cfg["hf_hub_id"].partition("@")
        return files.HubFile(repo, names, revision or None)
    return files.torch_hub_file(cfg["url"], get_dir())

"""Composes the feature: one collection, one review and one copy on the Hub for each service."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from lineup.config import Config, feedback_target
from lineup.errors import LineupError
from lineup.features.feedback.collection import Collection
from lineup.features.feedback.hub_copy import HubCopy
from lineup.features.feedback.labels import normalized_class
from lineup.features.feedback.review import Review
from lineup.hub.cache_folder import cache_folder

if TYPE_CHECKING:
    from lineup.service import Service

_LOCK = threading.Lock()


@dataclass(frozen=True)
class FeedbackParts:
    """The parts of the feature.

    Attributes:
        collection: takes answers.
        review: shows them to the owner.
        hub_copy: their copy in a data set of the Hub; None for a folder.
    """

    collection: Collection
    review: Review
    hub_copy: HubCopy | None = None


_PARTS: "WeakKeyDictionary[Service, FeedbackParts]" = WeakKeyDictionary()


def is_on(service: "Service") -> bool:
    """Return whether the config says where feedback is kept."""
    return bool(service.config.feedback.to)


def of(service: "Service") -> FeedbackParts:
    """Return the parts of a service, the same ones at each call.

    Raises:
        LineupError: when the config does not say where feedback is kept.
    """
    with _LOCK:
        if (parts := _PARTS.get(service)) is None:
            parts = _PARTS[service] = _compose(service)
        return parts


def root(config: Config) -> Path:
    """Return the folder of a config's feedback: its own, or one in the cache for a data set of the Hub."""
    settings = config.feedback
    if settings.repo:
        return cache_folder("feedback") / settings.repo.replace("/", "--")
    try:
        return feedback_target.resolved(settings.to, config.folder)
    except ValueError as error:
        raise LineupError(config.where("feedback", "to"), "a folder", str(error)) from error


def _compose(service: "Service") -> FeedbackParts:
    if not is_on(service):
        got, remedy = "there is none", "add `feedback: {to: FOLDER}` to the config"
        raise LineupError("feedback.to", "where feedback is kept", got, remedy)
    collection = Collection(root(service.config), service.config.feedback)
    weak = ref(service)  # the cache would otherwise keep every service
    collection.is_class = lambda label: (alive := weak()) is not None and label in _classes(alive)
    hub_copy = HubCopy(collection.root, collection.settings) if collection.settings.repo else None
    if hub_copy:
        collection.on_added = hub_copy.wake
    return FeedbackParts(collection, Review(collection, hub_copy), hub_copy)


def _classes(service: "Service") -> set[str]:
    """Return the names of all classes that are known now."""
    found = [labels.display_names for name in service.names if (labels := service.labels(name))]
    return {normalized_class(name) for names in found for name in names}

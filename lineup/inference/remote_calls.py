"""Calls of backbones that another process computes, in a bounded queue of their own."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from lineup.config import Limits
from lineup.errors import BackboneError, ClientDisconnected, HubError, ImageError, LineupError
from lineup.images.image_bytes import ImageSource, name_of
from lineup.images.reading import read_file
from lineup.inference.backbone_state import Loaded
from lineup.inference.queue import ComputeQueue

if TYPE_CHECKING:
    from lineup.inference.pool import Pin
    from lineup.registry import Plan
    from lineup.registry.remote import RemoteBackbone, RemoteOutput

Turn = Callable[[ComputeQueue], AbstractContextManager[None]]

DEVICE = "remote"  # of a backbone whose device is known with its first answer


class RemoteEngine:
    """The engine of a backbone that is computed elsewhere: it says so, since there is no network here."""

    batch_memory_bytes, is_concurrent = 0, False

    def __init__(self, plan: "Plan", remote: "RemoteBackbone") -> None:
        self.name, self.hint, self._plan = remote.name, remote.hint, plan

    def prepare_batches(self) -> None:
        """Do nothing."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        raise no_network(self._plan)


def no_network(plan: "Plan") -> BackboneError:
    """Return the error for what needs the network of a remote backbone."""
    got, remedy = "another process computes it, from the image itself", "use a backbone that is computed here"
    return BackboneError(plan.name, "a backbone whose network is in this process", got, remedy)


def connect(plan: "Plan", limits: Callable[[], Limits]) -> Loaded:
    """Connect to the process that computes a backbone.

    Raises:
        LineupError: when that is impossible.
    """
    assert plan.remote
    remote = plan.remote()
    queue = ComputeQueue(lambda: limits().queue_size, lambda: remote.concurrency)
    return Loaded(plan, RemoteEngine(plan, remote), DEVICE, None, remote=remote, queue=queue)


def output(
    pin: "Pin",
    loaded: Loaded,
    image: ImageSource,
    limits: Limits,
    turn: Turn,
    cancelled: Callable[[], bool],
    model_input: bool = False,
) -> "RemoteOutput":
    """Return what a remote backbone computes for an image.

    Args:
        pin: keeps the backbone; it becomes unavailable for a while when its process is gone.
        loaded: the backbone.
        image: path of an image file, or its content.
        limits: of the config; a larger file is not sent.
        turn: waits in the queue of the backbone.
        cancelled: the request's cancel flag.
        model_input: whether to return the input of the network.

    Raises:
        LineupError: as `RemoteBackbone.output` does.
        BusyError: when the queue is full.
    """
    assert loaded.remote
    assert loaded.queue is not None
    content = read_file(image, limits.max_upload_mb)
    with turn(loaded.queue):
        try:
            return loaded.remote.output(content, model_input, cancelled)
        except ImageError as error:  # there, the file has no name
            raise ImageError(name_of(image), error.expected, error.got, error.remedy) from error
        except ClientDisconnected:
            raise
        except LineupError as error:
            if isinstance(error, HubError):
                pin.gone(loaded, error)
            raise error.at(loaded.plan.name) from error

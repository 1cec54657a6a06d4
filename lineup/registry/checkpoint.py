"""Files of the user's own weights: what is in them, and whether it fits."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from timm.models import clean_state_dict, load_state_dict
from torch import nn

from lineup.config import Entry
from lineup.errors import BackboneError
from lineup.registry.plan import Context
from lineup.weights import LocalFile

Shapes = dict[str, tuple[int, ...]]


def local(entry: Entry, context: Context) -> LocalFile | None:
    """Return the entry's checkpoint file, if it names one.

    Raises:
        BackboneError: when it is not there.
    """
    if entry.checkpoint is None:
        return None
    path = context.folder / entry.checkpoint
    if not path.is_file():
        raise BackboneError(
            f"checkpoint: expected a file; {path} is not there; check the path, it starts at the config's folder"
        )
    return LocalFile(path)


def shapes(path: Path) -> Shapes:
    """Return the shape of each tensor in a checkpoint, without reading the numbers.

    Raises:
        BackboneError: when the file is no checkpoint, or holds more than weights.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return clean_state_dict({key: tuple(file.get_slice(key).get_shape()) for key in file.keys()})  # noqa: SIM118
        tensors = load_state_dict(str(path), device="meta")
        return {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    except (SafetensorError, OSError, EOFError) as error:
        raise BackboneError(f"{path.name}: expected a whole checkpoint; got {_first(error)}; copy it again") from None
    except Exception as error:  # unpickling raises what it likes
        raise BackboneError(
            f"{path.name}: expected a state dict and nothing else; got {_first(error)}; "
            "save it anew with safetensors.torch.save_file(model.state_dict(), …)"
        ) from None


def fit(there: Mapping[str, tuple[int, ...]], network: nn.Module, architecture: str) -> None:
    """Check that a checkpoint's tensors are this network's.

    Raises:
        BackboneError: when some are missing, unknown, or of another shape.
    """
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = sorted(wanted.keys() - there.keys() - optional)
    unknown = sorted(there.keys() - wanted.keys())
    differing = sorted(key for key in wanted.keys() & there.keys() if wanted[key] != there[key])
    found = [
        f"{len(keys)} {what} (such as {keys[0]})"
        for keys, what in ((missing, "missing"), (unknown, "unknown"), (differing, "of another shape"))
        if keys
    ]
    if found:
        raise BackboneError(
            f"expected the {len(wanted)} tensors of {architecture}; the checkpoint has {', '.join(found)}; "
            "name the architecture that it was trained with"
        )


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

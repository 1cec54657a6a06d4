"""Generates Python code that loads a checkpoint without Lineup."""

from pathlib import Path

from lineup.registry import checkpoint_file
from lineup.registry.state_dict import Fit

_FOLDER = "  # a relative path starts at the config's folder"
_IGNORED = """\
class Ignored:  # takes the place of objects beside the weights
    def __init__(self, *values): pass
    def __setstate__(self, state): pass


with torch.serialization.safe_globals([(Ignored, name) for name in {names}]):
    """
_LOAD = """\
prefixes = {prefixes}  # of keys, in the network and in the checkpoint
state = network.state_dict()
for key in state:
    new, old = next(pair for pair in prefixes.items() if key.startswith(pair[0]))
    state[key] = tensors.get(old + key.removeprefix(new), state[key])
network.load_state_dict(state)
"""


def loading_code(checkpoint: str, path: Path, fit: Fit, recipe: str) -> str:
    """Return a recipe with the code that loads a checkpoint, or "" if plain torch cannot load it.

    Args:
        checkpoint: the path to write into the code.
        path: the path of the file.
        fit: how it fits the network.
        recipe: code that builds the network and its transform.
    """
    ignored = checkpoint_file.ignored_classes(path)
    is_safetensors = checkpoint_file.is_safetensors(path)
    if fit.is_plain and not ignored and is_safetensors == checkpoint.endswith(".safetensors"):
        load = f"network.load_state_dict(load_state_dict({checkpoint!r})){_FOLDER}"
        return f"from timm.models import load_state_dict\n{recipe}{load}\n"
    misnamed = checkpoint.endswith(".safetensors") and not is_safetensors  # torch.load goes by the suffix
    if misnamed or any(placeholder is not checkpoint_file.Ignored for placeholder in ignored.values()):
        return ""
    if is_safetensors:
        start, load = "from safetensors.torch import load_file\n", f"load_file({checkpoint!r})"
    else:
        start, load = "import torch\n", f"torch.load({checkpoint!r}, map_location='cpu', weights_only=True)"
    names = _IGNORED.format(names=sorted(ignored)) if ignored else ""
    tensors = f"tensors = {load}{''.join(f'[{key!r}]' for key in fit.container)}{_FOLDER}\n"
    return f"{start}{recipe}{names}{tensors}{_LOAD.format(prefixes=dict(fit.prefixes))}"

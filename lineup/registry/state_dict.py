"""Finds the tensors of a network in a checkpoint, by their names and shapes."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import getitem
from typing import Any

import torch
from torch import nn

from lineup.errors import BackboneError

Shape = tuple[int | None, ...]  # None: any length
Shapes = Mapping[str, Shape]
Tensors = Mapping[str, torch.Tensor]
Path = tuple[Any, ...]  # the keys, or indices of lists, that lead to a dict of tensors

# As timm's load_state_dict prefers them; the averaged weights come first.
PREFERRED = (("state_dict_ema",), ("model_ema",), ("state_dict",), ("model",))
_WRAPPERS = ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.")  # it removes them
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|avg|averaged?)(?![a-z])|ema$")
# Counters of profilers and of averages, and buffers that follow from the architecture.
_COUNTERS = {"total_ops", "total_params", "n_averaged", "num_updates", "decay", "relative_position_index", "attn_mask"}
# Buffers of losses and metrics, which Lightning saves beside the network.
_LOSS = re.compile(
    r"(?:^|[._])(criteri(?:on|a)|loss\w*|metrics?|acc|accuracy|precision|recall|f1\w*|auroc|auc|confmat|confusion\w*"
    r"|(?:class|pos)_weights?)(?:[._]|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Fit:
    """How a checkpoint fits a network.

    Attributes:
        container: the keys that lead to the tensors: ``("state_dict",)``.
        prefixes: pairs of a prefix in the network, and what stands in its place in the checkpoint; the longest first.
        tensors: all tensors in the container, by their key.
        missing: the network's keys that the checkpoint lacks.
        unknown: the checkpoint's keys that the network lacks.
        differing: the network's keys whose tensors have another shape.
        notes: what was removed from the keys, and which tensors were ignored.
        has_more: whether the checkpoint has further tensors of the network's names, or some that were ignored.
    """

    container: Path
    prefixes: tuple[tuple[str, str], ...]
    tensors: Tensors
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    has_more: bool = False

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unknown or self.differing)

    @property
    def is_plain(self) -> bool:
        """Whether the function `load_state_dict` of timm returns these tensors, under the network's names."""
        wrapped = self.prefixes[0] in [("", prefix) for prefix in _WRAPPERS]
        return wrapped and self.container in ((), *PREFERRED) and not self.has_more

    def stored_key(self, key: str) -> str:
        """Return the key in the checkpoint of a tensor of the network."""
        new, old = next(pair for pair in self.prefixes if key.startswith(pair[0]))
        return old + key[len(new) :]

    def shape(self, key: str) -> tuple[int, ...] | None:
        """Return the shape that a tensor of the network has in the checkpoint; None if it is missing."""
        tensor = self.tensors.get(self.stored_key(key))
        return None if tensor is None else tuple(tensor.shape)

    def load_into(self, network: nn.Module) -> None:
        """Load the tensors into a network that they fit."""
        state = network.state_dict()
        network.load_state_dict({key: self.tensors.get(self.stored_key(key), state[key]) for key in state})


def shapes_of(network: nn.Module) -> dict[str, Shape]:
    """Return the shape of each tensor in the state dict of a network."""
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def keys_of(content: Any) -> list[str]:
    """Return the keys of all tensors in a checkpoint."""
    return [key for _, tensors in _containers(content) for key in tensors]


def find(content: Any, expected: Shapes, heads: Sequence[str] = ()) -> Fit:
    """Return the fit of a checkpoint for a network, also if it does not fit.

    Any container and any prefix of the keys is accepted. Averaged weights (EMA) are preferred, as by timm. A
    classification layer may have another name, if no other tensors are left over.

    Args:
        content: what `checkpoint_file.read` returns.
        expected: the shapes of the network.
        heads: the names of its classification layers.

    Raises:
        BackboneError: the checkpoint has several networks of this architecture, and none of them is the obvious one.
    """
    containers = dict(_containers(content))
    required = {key for key in expected if not key.endswith("num_batches_tracked")}
    counts = {
        (path, prefix): count
        for path, tensors in containers.items()
        for prefix, count in _prefixes(tensors, required).items()
    }
    most = max(counts.values(), default=0)
    if not most:  # nothing in common: show the largest
        path = max(containers, key=lambda path: len(containers[path]), default=())
        return _fit(path, "", containers.get(path, {}), expected, heads, ())
    groups = sorted((group for group in counts if counts[group] == most), key=_rank)
    fits = [
        _fit(path, prefix, containers[path], expected, heads, [other for at, other in groups if at == path])
        for path, prefix in groups
    ]
    fitting = [fit for fit in fits if fit.fits] or fits[:1]
    ranks = [_rank((fit.container, fit.prefixes[-1][1])) for fit in fitting]
    names = [_name(*group) for group in groups]
    if len(ranks) > 1 and ranks[0] == ranks[1]:
        got = f"the checkpoint has {len(names)}: {', '.join(names)}"
        raise BackboneError("", "the weights of one network", got, "save only those that are to be used")
    taken = fitting[0]
    # averaged weights without buffers have fewer keys, and are not taken: that is said, too
    names += [_name(*group) for group in counts if most > counts[group] > most / 2 and group[0] != taken.container]
    others = [name for name in names if name != _name(taken.container, taken.prefixes[-1][1])]
    stored = reduce(getitem, taken.container, content)  # may have other values, too
    return _with_notes(replace(taken, has_more=taken.has_more or len(stored) > len(taken.tensors)), others)


def _containers(content: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, torch.Tensor]]]:
    """Yield each dict that has tensors, with the keys that lead to it."""
    if not isinstance(content, Mapping | list | tuple):
        return
    if isinstance(content, Mapping):
        tensors = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
        if tensors:
            yield path, tensors
    children = content.items() if isinstance(content, Mapping) else enumerate(content)
    for key, value in children:
        if len(path) < 5:
            yield from _containers(value, (*path, key))


def _prefixes(tensors: Tensors, expected: set[str]) -> Counter[str]:
    """Count for each prefix how many keys of the network stand behind it."""
    counts: Counter[str] = Counter()
    for key in tensors:
        starts = [0, *(match.end() for match in re.finditer(r"\.", key))]
        counts.update(key[:start] for start in starts if key[start:] in expected)
    return counts


def _rank(group: tuple[Path, str]) -> tuple[bool, int]:
    """Return the sort key of a container and a prefix: averaged weights first, then timm's order, then any other."""
    path, prefix = group
    averaged = bool(_AVERAGED.search(_name(path, prefix).lower()))
    return not averaged, PREFERRED.index(path) if path in PREFERRED else len(PREFERRED)


def _name(path: Path, prefix: str) -> str:
    return "/".join((*map(str, path), *([f"{prefix}*"] if prefix else []))) or "*"


def _fit(
    path: Path, prefix: str, tensors: Tensors, expected: Shapes, heads: Sequence[str], others: Sequence[str]
) -> Fit:
    """Compare the tensors behind a prefix with those of a network; `others` are prefixes of further networks."""
    missing = tuple(k for k in expected if prefix + k not in tensors and not k.endswith("num_batches_tracked"))
    used = {other + key for other in (prefix, *others) for key in expected}
    left = [key for key in tensors if key not in used and not _is_ignored(key, prefix, tuple(tensors[key].shape))]
    ignored = [key for key in tensors if key not in used and key not in left]
    fit = Fit(path, (("", prefix),), tensors, missing, tuple(left))
    parents = {key.rpartition(".")[0] for key in left}
    for head in heads:
        if missing and all(key.startswith(f"{head}.") for key in missing) and len(parents) == 1:
            moved = Fit(path, ((f"{head}.", f"{parents.pop()}."), ("", prefix)), tensors)
            if {moved.stored_key(key) for key in missing} == set(left) and not _differing(moved, expected):
                fit = moved
                break
    named = f"{', '.join(ignored[:3])}{f', … ({len(ignored)})' if len(ignored) > 3 else ''}"
    notes = (f"ignored what is beside the network: {named}",) if ignored else ()
    return replace(fit, differing=_differing(fit, expected), notes=notes, has_more=bool(ignored))


def _differing(fit: Fit, expected: Shapes) -> tuple[str, ...]:
    found = {key: shape for key in expected if (shape := fit.shape(key)) is not None}
    return tuple(
        key
        for key, shape in found.items()
        if len(shape) != len(expected[key])
        or any(want not in (None, length) for want, length in zip(expected[key], shape, strict=True))
    )


def _is_ignored(key: str, prefix: str, shape: tuple[int, ...]) -> bool:
    """Return whether a tensor has no part in the prediction."""
    if key.rpartition(".")[2] in _COUNTERS:
        return True
    if key.startswith(prefix) and key[len(prefix) :].lower().startswith("aux"):
        return True  # auxiliary heads, which run only in training
    # A layer after the network has a kernel, or a weight of two different lengths, and another name.
    return bool(_LOSS.search(key)) and (len(shape) < 2 or (len(shape) == 2 and shape[0] == shape[1]))


def _with_notes(fit: Fit, others: Sequence[str]) -> Fit:
    *moved, (_, prefix) = fit.prefixes
    notes = []
    if fit.container:
        notes.append(f"weights from {_name(fit.container, '')!r}")
    if prefix:
        notes.append(f"removed the prefix {prefix!r} from the keys")
    notes += [f"the classification layer {new[:-1]!r} is {old[:-1]!r} in the checkpoint" for new, old in moved]
    if others:
        notes.append(f"took {_name(fit.container, prefix)!r}; the checkpoint also has {', '.join(map(repr, others))}")
    return replace(fit, notes=(*notes, *fit.notes), has_more=fit.has_more or bool(others))

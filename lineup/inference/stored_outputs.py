"""Outputs of many images, of which those that a backbone has computed before are read from disk."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np

from lineup.images.image_set import EvaluatedImage
from lineup.inference import batches
from lineup.inference.answer_store import AnswerStore, Kind
from lineup.inference.computed_backbone import ComputedBackbone, Outputs
from lineup.inference.pinned_backbone import PinnedBackbone
from lineup.inference.queue import Cancelled, never_cancelled

_LOOKED_UP = 256  # images whose stored outputs are in memory at once


def compute(
    backbone: PinnedBackbone,
    images: Sequence[EvaluatedImage],
    indices: Sequence[int],
    store: AnswerStore,
    turn: Callable[[], AbstractContextManager[None]],
    slice_s: float,
    cancelled: Cancelled = never_cancelled,
) -> Iterator[Outputs]:
    """Yield the outputs of images, first those that are stored, and store the others.

    Args:
        backbone: computes them.
        images: all images.
        indices: the indices of those to compute.
        store: keeps them, by content of the image and fingerprint of the backbone.
        turn: as for `batches.compute`, and so are `slice_s` and `cancelled`.

    Raises:
        BackboneError: when a forward pass fails.
        ClientDisconnected: when the job is cancelled.
    """
    if isinstance(backbone, ComputedBackbone):
        yield from backbone.computed(images, indices)
        return
    kind: Kind = "logits" if backbone.plan.output == "classes" else "features"
    fingerprint, missing = backbone.fingerprint, list[int]()
    for start in range(0, len(indices), _LOOKED_UP):
        some = indices[start : start + _LOOKED_UP]
        stored = store.get_many((images[at].sha256 for at in some), fingerprint, kind)
        found = [at for at in some if images[at].sha256 in stored]
        missing += [at for at in some if images[at].sha256 not in stored]
        if found:
            yield Outputs(found, np.stack([stored[images[at].sha256] for at in found]))
    for batch in batches.compute(backbone, [images[at].path for at in missing], turn, slice_s, cancelled):
        here = missing[batch.start : batch.start + len(batch.outputs)]
        kept = [row for row in range(len(here)) if row not in batch.problems]
        rows = {images[here[row]].sha256: batch.outputs[row] for row in kept}
        # of a remote backbone it may have changed meanwhile
        store.put_many(rows, fingerprint if backbone.fingerprint == fingerprint else "", kind)
        problems = {here[row]: error for row, error in batch.problems.items()}
        yield Outputs([here[row] for row in kept], batch.outputs[kept], problems)

"""What the labels of a set of images mean, as cards in which each meaning can be corrected."""

from collections import Counter
from collections.abc import Iterable, Sequence

import gradio as gr

from lineup.analysis.label_mapping import Match
from lineup.images.image_set import ImageSet
from lineup.page.templates import read_script, render
from lineup.registry.labels import LabelSet

_MAX_NAMES = 2000  # more would slow the page down


def meanings_field() -> gr.HTML:
    """Create the component: its event `select` has a `label`, and its new `meaning`, a list of ids and names."""
    return gr.HTML(js_on_load=read_script("label_meanings"), elem_id="mapping")


def mapping(images: ImageSet, matches: Sequence[Match], label_sets: Iterable[LabelSet], is_open: bool) -> str:
    """Render what was found in the folder, and what the labels mean, to be corrected.

    Args:
        images: the set.
        matches: of its labels.
        label_sets: whose classes are suggested for other meanings.
        is_open: False folds it.
    """
    known = {label.name for labels in label_sets if labels.named for label in labels.labels}
    rank = {"ambiguous": 0, "unmatched": 1, "matched": 3}  # first what is asked, then what was chosen
    return render(
        "label_meanings.html",
        images=images,
        matches=sorted(matches, key=lambda match: rank.get(match.state, 2)),
        counts=Counter(image.label for image in images.images),
        example=max(matches, key=_most, default=None),
        most=_most,
        n_left_out=len(images.unreadable)
        + sum(len(group) - 1 for group in images.duplicates)
        + sum(len(conflict["files"]) for conflict in images.conflicts),
        n_asked=sum(match.state == "ambiguous" for match in matches),
        names=sorted(known) if len(known) <= _MAX_NAMES else [],
        is_open=is_open,
    )


def _most(match: Match) -> int:
    return max(map(len, match.classes.values()), default=0)

"""The verdict in one paragraph of plain words; every sentence is true of the images at hand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lineup.formatting import enumeration

if TYPE_CHECKING:
    from lineup.analysis.pairs import Pair
    from lineup.analysis.verdict import Cost, Score

MAX_LISTED = 3  # backbones in a sentence; tables have all of them


def sentence(
    scores: "Sequence[Score]",
    ranked: "Sequence[Score]",
    pairs: "Sequence[Pair]",
    not_worse: Sequence[str],
    recommended: str | None,
) -> str:
    """Return the verdict in plain words; the arguments are the parts of a `Verdict`."""
    if not scores:
        return "No backbone was evaluated."
    if not any(score.n_images for score in scores):
        return "No image has both an answer and a label, so nothing can be said."
    names = [score.backbone for score in ranked]
    of_ranked = {(pair.first, pair.second): pair for pair in pairs if {pair.first, pair.second} <= set(names)}
    parts = []
    if not ranked:
        parts.append("No image can be scored for all backbones, so they are not ranked.")
    elif len(ranked) == 1:
        parts.append(f"{_accuracies(ranked, recommended)}.")
    elif len(ranked) == 2:
        parts.append(
            f"{_common(scores, ranked)}{_accuracies(ranked, recommended)}; {of_two(of_ranked[names[0], names[1]])}."
        )
    else:
        parts.append(f"{_common(scores, ranked)}{_accuracies(ranked, recommended)}.")
        parts.append(_of_several(names, of_ranked, not_worse, recommended))
    parts += [_choice(ranked, not_worse, recommended)] if recommended else []
    return " ".join(filter(None, [*parts, *_left_out(scores, names, pairs)]))


def percent(value: float, n_images: int) -> str:
    """Format a proportion of images as percent without the sign; only what is 0 or 1 is written as 0 or 100."""
    texts = [f"{100 * value:.{decimals}f}" for decimals in range(n_images >= 1000, 8)]
    return next((text for text in texts if value in (0, 1) or 0 < float(text) < 100), texts[-1])


def about(number: int) -> str:
    """Round an estimated count up to two significant digits, for "about": 1,100."""
    unit = 10 ** max(len(str(number)) - 2, 0)
    return f"{-(-number // unit) * unit:,}"


def of_two(pair: "Pair", named: bool = False) -> str:
    """Return a clause on a pair, with the names of both unless the sentence has said which two they are."""
    n = pair.only_first + pair.only_second
    if n == 0:
        both = f"{pair.first} and {pair.second}" if named else "they"
        return f"{both} are right on the same images, so these show no difference"
    on = f"on {n:,} only one of {f'{pair.first} and {pair.second}' if named else 'them'} is right"
    if pair.better:
        times = max(pair.only_first, pair.only_second)
        share = f"{times:,} of these" if times < n else "all of these"
        return f"{on}, {pair.better} on {share}, so {pair.better} is significantly better ({_p(pair.adjusted_p)})"
    if pair.more_images is None:
        return f"{on}, each on {pair.only_first:,}, so these show no difference"
    return f"{on}, too few to tell: about {about(pair.more_images)} more images would, if the difference is real"


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.2g}"


def _accuracies(ranked: "Sequence[Score]", recommended: str | None) -> str:
    """Return how many images the first backbones get right, and the recommended one."""
    shown = _shown(ranked, recommended)
    texts: list[str] = []
    for score in shown:
        is_right, of = ("", "") if texts else (" is right", f" of {score.n_images:,}")
        values = (score.right / score.n_images, *score.interval)
        accuracy, low, high = (percent(value, score.n_images) for value in values)
        texts.append(f"{score.backbone}{is_right} on {score.right:,}{of} ({accuracy}%, {low} to {high})")
    rest = [score.right for score in ranked if score not in shown]
    if not rest:
        return enumeration(texts) if len(texts) > 2 else ", ".join(texts)
    counts = f"{min(rest):,} to {max(rest):,}" if min(rest) < max(rest) else f"{rest[0]:,}"
    return f"{', '.join(texts)}, and {_others(len(rest))} on {counts}"


def _shown(ranked: "Sequence[Score]", recommended: str | None) -> "list[Score]":
    """Return the first backbones, with the recommended one instead of the last of them if it is not among them."""
    first = list(ranked[:MAX_LISTED])
    chosen = [score for score in ranked[MAX_LISTED:] if score.backbone == recommended]
    return first[:-1] + chosen if chosen else first


def _others(count: int) -> str:
    return "one other" if count == 1 else f"{count} others"


def _common(scores: "Sequence[Score]", ranked: "Sequence[Score]") -> str:
    """Return an introduction if the ranking leaves out images on which some ranked backbone is scored."""
    n, names = ranked[0].n_images, {score.backbone for score in ranked}
    own = max(score.n_images for score in scores if score.backbone in names)
    return f"On the {_images(n)} that can be scored for all of them, " if own > n else ""


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _of_several(
    names: Sequence[str],
    pairs: "dict[tuple[str, str], Pair]",
    not_worse: Sequence[str],
    recommended: str | None,
) -> str:
    """Return which of three or more backbones are significantly worse, and which are not."""
    if all(pair.only_first + pair.only_second == 0 for pair in pairs.values()):
        return f"All {len(names)} are right on the same images, so these show no difference."
    parts, best = [], names[0]
    others = [name for name in names if name in not_worse and name != best]
    if others:
        equal = f"{_listed(others)} {_are(others)} not significantly worse than {best}"
        equal = f"No two of the {len(names)} differ significantly" if len(others) == len(names) - 1 else equal
        other = recommended if recommended in others else others[0]
        parts.append(f"{equal}; {of_two(pairs[best, other], named=True)}.")
    worse = [name for name in names if name not in not_worse]
    if worse:
        by_best = all(pairs[best, name].decided for name in worse)
        than = best if by_best else "at least one of them"
        parts.append(f"{_listed(worse)} {_are(worse)} significantly worse than {than}.")
    return " ".join(parts)


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= MAX_LISTED:
        return enumeration(names)
    return f"{', '.join(names[: MAX_LISTED - 1])} and {_others(len(names) - MAX_LISTED + 1)}"


def _choice(ranked: "Sequence[Score]", not_worse: Sequence[str], recommended: str) -> str:
    """Return what the backbones cost, and which one to take."""
    costs = [(score.backbone, text) for score in _shown(ranked, recommended) if (text := cost_text(score.cost))]
    here = ", ".join(f"{name} {'' if index else 'takes '}{text}" for index, (name, text) in enumerate(costs))
    parts = [f"Here {here}."] if here else []
    if len(ranked) > 1:
        candidates = [score.cost for score in ranked if score.backbone in not_worse]
        parts.append(advice(recommended, candidates))
    return " ".join(parts)


def advice(recommended: str, costs: "Sequence[Cost]") -> str:
    """Return which backbone to take, and why.

    Args:
        recommended: the cheapest of the backbones that are not shown to be worse than another.
        costs: of all of those.
    """
    return f"Take {recommended}{_reason(costs) if len(costs) > 1 else ''}."


def _reason(costs: "Sequence[Cost]") -> str:
    of_those = f"of the {len(costs)} that are not shown to be worse than another"
    first, second = sorted(cost.price for cost in costs)[:2]
    if first == second:
        return f", or another {of_those}: their costs are the same, or not known"
    if first[0] == second[0]:
        return f", the smallest of the fastest {of_those}"
    return f", the fastest {of_those}{'' if all(cost.forward_ms is not None for cost in costs) else ', of known time'}"


def cost_text(cost: "Cost") -> str:
    """Return a cost as ``12 ms and 46 MB``; empty if it is unknown."""
    parts = [(cost.forward_ms, "ms"), (cost.size_mb, "MB")]
    texts = [
        f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}" for value, unit in parts if value is not None
    ]
    return " and ".join(texts)


def _left_out(scores: "Sequence[Score]", ranking: Sequence[str], pairs: "Sequence[Pair]") -> list[str]:
    """Return a sentence for each backbone that lacks answers or labels."""
    texts = []
    for score in scores:
        facts = []
        if score.n_unanswered:
            facts.append(f"did not answer {_images(score.n_unanswered)}")
        if score.n_unknown:
            facts.append(f"has no class for the labels of {_images(score.n_unknown)}, which are not counted as wrong")
        if not facts:
            continue
        not_ranked = "is not ranked: it " if ranking and score.backbone not in ranking else ""
        against_best = _against_best(score.backbone, ranking, pairs)
        texts.append(f"{score.backbone} {not_ranked}{enumeration(facts)}{against_best}.")
    rest = len(texts) - MAX_LISTED
    return [*texts[:MAX_LISTED], *([f"Answers or labels are missing for {_others(rest)}, too."] if rest > 0 else [])]


def _against_best(name: str, ranking: Sequence[str], pairs: "Sequence[Pair]") -> str:
    """Return a clause that compares an unranked backbone with the best one on the images of both."""
    pair = next((pair for pair in pairs if name not in ranking and pair.second == name and pair.n_images), None)
    if pair is None or not ranking or pair.first != ranking[0]:
        return ""
    return f"; of the {_images(pair.n_images)} of both, {of_two(pair, named=True)}"

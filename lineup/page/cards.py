"""The header and the answers as HTML, and the choices of the dropdowns."""

from collections.abc import Sequence

from lineup.analysis.agreement import Comparison
from lineup.errors import DID_YOU_MEAN, LineupError
from lineup.formatting import count, size
from lineup.page.templates import render
from lineup.results import BackboneStatus, Classification

_MARK = {"ready": "ready", "loading": "loading…", "idle": "loads on first use"}


def header(title: str, description: str, space: str = "") -> str:
    """Render the title and the description, and on a Space the link that duplicates it."""
    return render("header.html", title=title, description=description, space=space)


def dropdown_label(status: BackboneStatus) -> str:
    """Return a choice of the backbone dropdown: name, parameters, download size and status."""
    parts = [status.name]
    if status.parameters:
        parts.append(f"{count(status.parameters)} parameters")
    if status.download_bytes:
        parts.append(size(status.download_bytes))
    if status.status == "unavailable":
        parts.append(f"✕ unavailable: {short_reason(status.problem)}" if status.problem else "✕ unavailable")
    else:
        parts.append(_MARK[status.status])
    return " · ".join(parts)


def short_dropdown_label(status: BackboneStatus) -> str:
    """Return a choice of the multi-select dropdown: the name, marked if unavailable."""
    return status.name if status.status != "unavailable" else f"{status.name} · ✕ unavailable"


def short_reason(problem: LineupError) -> str:
    """Return a few words on why a backbone is unavailable: the suggestion if there is one, else the cause."""
    return problem.remedy if problem.remedy.startswith(DID_YOU_MEAN) else problem.got or problem.expected


def classification_card(answer: Classification, top_k: int) -> str:
    """Render the bars of the `top_k` most probable classes, the model input, and the details of the run."""
    return render("card.html", answer=answer, top_k=top_k)


def comparison(names: Sequence[str], comparison: Comparison, top_k: int) -> str:
    """Render a card per backbone in the order of `names`, and the verdict once all have answered."""
    agreement, is_complete = comparison.agreement, len(comparison.answers) == len(names)
    majority = agreement.majority if is_complete else None  # a pending answer may change it
    return render(
        "comparison.html",
        answers={name: comparison.answers.get(name) for name in names},
        top_k=top_k,
        lead=_lead,
        majority=majority,
        dissenting=agreement.dissenting if majority else (),
        missing_class=agreement.missing_class if majority else (),
        sentence=agreement.sentence,
        chips=_chips(comparison) if is_complete else None,
        left_out=_left_out(comparison),
    )


def _chips(comparison: Comparison) -> list[tuple[str, str, Sequence[str]]]:
    """Return the label, the CSS class and the backbones of each distinct answer."""
    agreement = comparison.agreement
    chips: list[tuple[str, str, Sequence[str]]] = []
    for group in agreement.groups:
        dissents = "lu-dissent" if set(group.backbones) <= set(agreement.dissenting) else ""
        chips.append((group.label, "lu-majority" if group == agreement.majority else dissents, group.backbones))
    for name, answer in comparison.answers.items():
        if isinstance(answer, Classification) and name in agreement.not_comparable:
            chips.append((answer.predictions[0].label, "", [name]))
    chips += [("several classes", "", [name]) for name in agreement.multi_label]
    failed = [name for name, answer in comparison.answers.items() if isinstance(answer, LineupError)]
    return [*chips, ("no answer", "", failed)] if failed else chips


def _left_out(comparison: Comparison) -> str:
    """Return which entries were excluded: the unavailable ones, and those beyond limits.max_compared."""
    groups: dict[str, list[str]] = {}
    for name, reason in comparison.left_out.items():
        groups.setdefault("unavailable" if isinstance(reason, LineupError) else reason, []).append(name)
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in groups.items())


def _lead(answer: Classification) -> str:
    """Return the margin of the first class over the second, in percentage points: ``95 points ahead of crow``."""
    points = f"{answer.margin * 100:.0f}"
    if points == "100" and answer.margin < 1:
        points = "over 99"  # rounding must not claim exactly 100 or 0
    elif points == "0":
        points = "under 1"
    second = answer.predictions[1].label
    return f"{points} point{'' if points in ('1', 'under 1') else 's'} ahead of {second}"

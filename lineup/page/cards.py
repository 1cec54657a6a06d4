"""Render results as HTML. Pure functions; all external text is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape

from lineup.analysis.agreement import Comparison
from lineup.errors import DID_YOU_MEAN, LineupError
from lineup.formatting import count, size
from lineup.page.html import PULSE, classifying, data_uri, loading, render_reason, stage, status_box
from lineup.results import BackboneStatus, Classification, Prediction

_MARK = {"ready": "ready", "loading": "loading…", "idle": "loads on first use"}


def header(title: str, description: str, space: str = "") -> str:
    """Render the title and the description, and on a Space the link that duplicates it."""
    subtitle = f"<p>{escape(description)}</p>" if description else ""
    if space:
        address = f"https://huggingface.co/spaces/{escape(space)}?duplicate=true"
        subtitle += f'<a href="{address}" target="_blank" rel="noopener">Duplicate this Space</a>'
    return f'<header class="lu-header"><h1>{escape(title)}</h1>{subtitle}</header>'


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


def fallback(default: BackboneStatus, selected: str) -> str:
    """Render the notice that the page opened with a backbone other than the config's default."""
    title = "No backbone of this line-up can run now"
    if default.name != selected:
        title = f"{escape(default.name)} cannot run now, so {escape(selected)} is selected"
    return status_box("notice", title, render_reason(default.problem or ""))


def wrong_link(problems: Iterable[str]) -> str:
    """Render which parts of the link are invalid."""
    return status_box("notice", "This link does not fit this page", f"<p>{escape('; '.join(problems))}.</p>")


def pending_panel(pending: Sequence[BackboneStatus]) -> str:
    """Render the progress of the backbones that have not answered yet."""
    if len(pending) > 1:
        running = next((status.name for status in pending if status.status == "ready"), "")  # they run one at a time
        stages = [f"{status.name}: {'classifying' if status.name == running else stage(status)}" for status in pending]
        return status_box("busy", f"{len(pending)} backbones pending", f"<p>{escape(', '.join(stages))}</p>{PULSE}")
    return "".join(loading(status) if status.status == "loading" else classifying(status.name) for status in pending)


def comparison(names: Sequence[str], comparison: Comparison, top_k: int) -> str:
    """Render a card per backbone in the order of `names`, and the verdict once all have answered."""
    agreement, kinds, verdict = comparison.agreement, dict[str, str](), ""
    missing_class = dict[str, str]()
    if agreement.majority and len(comparison.answers) == len(names):  # a pending answer may change the majority
        kinds = dict.fromkeys(agreement.dissenting, "lu-dissent")
        missing_class = dict.fromkeys(agreement.missing_class, agreement.majority.label)
    if len(comparison.answers) == len(names):
        verdict = _verdict(comparison)
    cards = "".join(
        _small_card(name, comparison.answers.get(name), top_k, kinds.get(name, ""), missing_class.get(name, ""))
        for name in names
    )
    return f'{verdict}<div class="lu-cards">{cards}</div>'


def _verdict(comparison: Comparison) -> str:
    """Render the agreement sentence, a chip per distinct label, and the excluded entries."""
    agreement = comparison.agreement
    chips = []
    for group in agreement.groups:
        dissents = "lu-dissent" if set(group.backbones) <= set(agreement.dissenting) else ""
        kind = "lu-majority" if group == agreement.majority else dissents
        chips.append(_chip(group.label, len(group.backbones), kind, group.backbones))
    for name, answer in comparison.answers.items():
        if isinstance(answer, Classification) and name in agreement.not_comparable:
            chips.append(_chip(answer.predictions[0].label, 1, "", [name]))
    if failed := [name for name, answer in comparison.answers.items() if isinstance(answer, LineupError)]:
        chips.append(_chip("no answer", len(failed), "", failed))
    return (
        f'<section class="lu-verdict" role="status"><p>{escape(agreement.sentence)}</p>'
        f'<ul class="lu-chips">{"".join(chips)}</ul>'
        f"{_left_out(comparison)}</section>"
    )


def _left_out(comparison: Comparison) -> str:
    """Render which entries were excluded: the unavailable ones, and those beyond limits.max_compared."""
    groups: dict[str, list[str]] = {}
    for name, reason in comparison.left_out.items():
        why = "unavailable" if isinstance(reason, LineupError) else reason
        groups.setdefault(why, []).append(name)
    text = "; ".join(f"{', '.join(names)} ({why})" for why, names in groups.items())
    return f'<p class="lu-detail">Left out: {escape(text)}.</p>' if text else ""


def _chip(label: str, count: int, kind: str, backbones: Sequence[str]) -> str:
    return f'<li class="{kind}" title="{escape(", ".join(backbones))}">{escape(label)} <b>{count}</b></li>'


def _small_card(
    name: str, answer: Classification | LineupError | None, top_k: int, kind: str, missing_class: str
) -> str:
    body = PULSE
    if isinstance(answer, LineupError):
        kind, body = "lu-failed", render_reason(answer)
    elif answer:
        size = f"{answer.input_size[1]} × {answer.input_size[0]} px"
        run = f"<span>{answer.milliseconds.forward:.0f} ms<br>{size}</span>"
        note = f'<p class="lu-note">Its label set has no class {escape(missing_class)}.</p>' if missing_class else ""
        lead = f'<p class="lu-lead">{escape(_lead(answer))}</p>' if len(answer.predictions) > 1 else ""
        body = f"{_bars(answer, top_k)}{lead}{note}<footer>{_crop(answer)}{run}</footer>"
    return f'<article class="lu-card lu-small {kind}"><h3>{escape(name)}</h3>{body}</article>'


def _lead(answer: Classification) -> str:
    """Return the margin of the first class over the second, in percentage points: ``95 points ahead of crow``."""
    points = f"{answer.margin * 100:.0f}"
    if points == "100" and answer.margin < 1:
        points = "over 99"  # rounding must not claim exactly 100 or 0
    elif points == "0":
        points = "under 1"
    second = answer.predictions[1].label
    return f"{points} point{'' if points in ('1', 'under 1') else 's'} ahead of {second}"


def classification_card(result: Classification, top_k: int) -> str:
    """Render the bars of the `top_k` most probable classes, the model input, and the details of the run."""
    height, width = result.input_size
    caption = f"<figcaption>Model input: {width} × {height} px</figcaption>" if result.model_input_jpeg else ""
    return (
        f'<section class="lu-card">{_bars(result, top_k)}<div class="lu-seen">'
        f'<figure>{_crop(result)}{caption}</figure><dl class="lu-ran">{_run_details(result)}</dl></div></section>'
    )


def _bars(result: Classification, top_k: int) -> str:
    bars = "".join(_bar(prediction, rank) for rank, prediction in enumerate(result.predictions[:top_k]))
    notes = "".join(f'<p class="lu-note">{escape(note)}</p>' for note in result.notes)
    return f'<ol class="lu-bars">{bars}</ol>{notes}'


def _bar(prediction: Prediction, rank: int) -> str:
    words = escape(prediction.description or prediction.label)
    percent = f"{prediction.probability:.1%}" if prediction.probability >= 0.001 else "&lt; 0.1%"
    return (
        f'<li class="{"lu-first" if rank == 0 else ""}" title="{words}"><div class="lu-line">'
        f'<span class="lu-label">{escape(prediction.label)}</span><span class="lu-percent">{percent}</span></div>'
        f'<div class="lu-track"><div class="lu-fill" style="width:{prediction.probability:.2%}"></div></div></li>'
    )


def _crop(result: Classification) -> str:
    alt = f"model input of {escape(result.backbone)}"
    return f'<img src="{data_uri(result.model_input_jpeg)}" alt="{alt}">' if result.model_input_jpeg else ""


def _run_details(result: Classification) -> str:
    times = result.milliseconds
    height, width = result.input_size
    rows: Iterable[tuple[str, str]] = (
        ("backbone", result.backbone),
        ("input", f"{width} × {height} px"),
        ("engine", f"{result.engine} on {result.device}"),
        ("time", f"{times.total:.0f} ms"),
        ("", f"decode {times.decode:.0f} · preprocess {times.preprocess:.0f} · forward {times.forward:.0f}"),
        ("labels", result.label_set),
        ("licence", f"weights: {result.license or 'not stated'}"),
    )
    return "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in rows)

"""The command `feedback`: review what users gave, see what it tells, and export what was accepted."""

import argparse
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup.cli.output import print_answer, report
from lineup.errors import LineupError
from lineup.formatting import aligned, enumeration

if TYPE_CHECKING:  # keep `--help` fast
    from lineup.features.feedback.feature import FeedbackParts
    from lineup.features.feedback.review import PendingImage, Stats
    from lineup.service import Service

HUB_TIMEOUT_S = 60.0


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add `feedback` with its three actions."""
    summary = "review the images that users labelled on the page, see what they tell, and export them"
    actions = commands.add_parser("feedback", help=summary, description=f"{summary.capitalize()}.").add_subparsers(
        required=True, metavar="ACTION"
    )
    review = actions.add_parser(
        "review",
        parents=[shared],
        help="list the images to review, or accept and reject some",
        description="List the images that are not reviewed, those first on which users and backbones disagree. "
        "Accepted images are a folder by labels, for `evaluate` and `train`; rejected ones are deleted.",
    )
    review.add_argument("--accept", nargs="+", metavar="ID", default=[], help="accept these images")
    review.add_argument("--label", help="the label of the accepted images (default: of each, the one given most often)")
    review.add_argument("--reject", nargs="+", metavar="ID", default=[], help="delete these images")
    review.set_defaults(run=_run, action=_review)

    stats = actions.add_parser(
        "stats", parents=[shared], help="tell how often users corrected each backbone, and each of its classes"
    )
    stats.set_defaults(run=_run, action=_stats)

    export = actions.add_parser(
        "export", parents=[shared], help="copy the accepted images to a new folder, as imagefolder"
    )
    export.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    export.set_defaults(run=_run, action=_export)


def _run(service: "Service", arguments: argparse.Namespace) -> int:
    """Run an action, with what other replicas have kept, and send what it decides."""
    from lineup.features.feedback import feature

    parts = feature.of(service)
    if (copy := parts.hub_copy) is None:
        arguments.action(parts, arguments)
        return 0
    copy.pull(HUB_TIMEOUT_S)
    try:
        arguments.action(parts, arguments)
    finally:
        copy.stop(HUB_TIMEOUT_S)
    return report([copy.problem]) if copy.problem else 0


def _review(parts: "FeedbackParts", arguments: argparse.Namespace) -> None:
    if both := set(arguments.accept) & set(arguments.reject):
        raise LineupError("--reject", "other images than --accept", f"got {min(both)} twice", "remove one of the two")
    if arguments.label is not None and not arguments.accept:
        raise LineupError("--label", "--accept with the ids of images", "got none", "add them")
    if not (arguments.accept or arguments.reject):
        pending = parts.review.pending()
        print_answer([_to_json(image) for image in pending], arguments.json, lambda: _list(pending))
        return
    for name in arguments.reject:
        parts.review.image(name)  # before any is accepted
    n_accepted = parts.review.accept(arguments.accept, arguments.label) if arguments.accept else 0
    n_rejected = parts.review.reject(arguments.reject) if arguments.reject else 0
    n_left, folder = len(parts.review.pending()), str(_accepted_folder(parts))
    counts = {"accepted": n_accepted, "rejected": n_rejected, "pending": n_left}
    done = [f"{verb} {_images(count)}" for verb, count in list(counts.items())[:2] if count]
    line = f"{enumeration(done) or 'nothing changed'}; {_images(n_left)} left to review"
    print_answer({**counts, "folder": folder}, arguments.json, lambda: [line, f"accepted images: {folder}"])


def _stats(parts: "FeedbackParts", arguments: argparse.Namespace) -> None:
    stats = parts.review.stats()
    folder = _accepted_folder(parts)
    print_answer({**asdict(stats), "folder": str(folder)}, arguments.json, lambda: _stats_lines(stats, folder))


def _export(parts: "FeedbackParts", arguments: argparse.Namespace) -> None:
    count = parts.review.export(arguments.folder)
    result = {"folder": str(arguments.folder), "images": count}
    print_answer(result, arguments.json, lambda: [f"{arguments.folder}: {_images(count)}"])


def _accepted_folder(parts: "FeedbackParts") -> Path:
    from lineup.features.feedback.records import ACCEPTED

    return parts.collection.root / ACCEPTED


def _to_json(image: "PendingImage") -> dict[str, Any]:
    answers = [{key: value for key, value in asdict(row).items() if key != "key"} for row in image.answers]
    found = {"id": image.id, "label": image.label, "labels": dict(image.labels), "is_disputed": image.is_disputed}
    return {**found, "path": str(image.path), "answers": answers}


def _list(pending: "Sequence[PendingImage]") -> list[str]:
    """Return the lines to print: an image each, and how to go on."""
    if not pending:
        return ["no images to review"]
    rows = [("image", "label given", "the backbones said")]
    for image in pending:
        given = ", ".join(f"{label} ({count})" if count > 1 else label for label, count in image.labels)
        said = Counter(f"{said.backbone}: {said.label}" for row in image.answers for said in row.said)
        rows.append((image.id, given or image.label, ", ".join(said)))
    n_disputed = sum(image.is_disputed for image in pending)
    lines = [*aligned(rows, "lll"), "", f"{_images(len(pending))} to review; users corrected {n_disputed} of them"]
    return [*lines, "accept some with: --accept ID… [--label LABEL], delete others with: --reject ID…"]


def _stats_lines(stats: "Stats", folder: Path) -> list[str]:
    """Return the lines to print."""
    counts = f"{stats.n_accepted} accepted, {stats.n_rejected} rejected, {stats.n_pending} to review"
    lines = [f"images: {counts}", f"answers: {stats.n_answers}, without those to rejected images"]
    if stats.rates:
        rows = [("backbone", "class it said", "answers", "corrected", "share", "95% interval")]
        for rate in stats.rates:
            interval = f"{rate.interval.low:.0%} to {rate.interval.high:.0%}"
            label = rate.label or "(all)"
            rows.append((rate.backbone, label, str(rate.n), str(rate.n_corrected), f"{rate.share:.0%}", interval))
        lines += ["", *aligned(rows, "llrrrl"), ""]
        lines += ["These are answers of users who chose to give one, and no sample of all: compare them with care."]
    if stats.n_accepted:
        name = shlex.quote(str(folder))
        lines += [f"evaluate on the accepted images: python -m lineup evaluate {name}"]
        lines += [f"train on them: python -m lineup train {name}"]
    return lines


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"

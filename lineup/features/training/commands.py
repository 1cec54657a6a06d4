"""The command `train`: a classifier for one's own classes, from a folder of labelled images."""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.cli import cluster_option
from lineup.cli.output import EXIT_INTERRUPTED, print_answer, report
from lineup.errors import LineupError

if TYPE_CHECKING:  # keep `--help` fast
    from lineup.analysis.training import TrainingReport
    from lineup.features.training.run import Trainings
    from lineup.service import Service

ALONE_SLICE_S = 1.0  # of a batch: there are no requests that wait for it


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add `train`."""
    command = commands.add_parser(
        "train",
        parents=[shared],
        help="train a classifier for your own classes from a folder of images, and tell how good it is",
        description="Compute the features of all images with each backbone, once, and fit a head to them. Classes are "
        "the sub-folders, or the labels of a metadata.jsonl or CSV file, whose column `group` keeps images together "
        "that belong together. The splits test and validation are held out. Cross-validation tells which backbone is "
        "best; it is saved in timm's format, for `local-dir:` in a config.",
    )
    command.add_argument("source", help="a folder, a zip file, or hf://datasets/OWNER/NAME")
    command.add_argument(
        "--backbones",
        action="append",
        metavar="NAME",
        help="name of an entry, or a backbone as in the config, also one without classes; repeatable (default: all of "
        "the config)",
    )
    command.add_argument("--out", type=Path, metavar="FOLDER", help="save the classifier to this new folder")
    command.add_argument(
        "--save", metavar="NAME", default="", help="the backbone to save (default: the recommended one)"
    )
    command.add_argument("--push", metavar="OWNER/NAME", default="", help="push it to a model repository on the Hub")
    command.add_argument("--private", action="store_true", help="create a private repository")
    cluster_option.add(command)
    command.set_defaults(run=_run)


def _run(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.cli import job_progress

    try:
        with job_progress.sigterm_as_ctrl_c():  # also while it saves
            return _train(service, arguments)
    except KeyboardInterrupt:
        saved = f"{arguments.out} is saved" if arguments.out and arguments.out.exists() else "nothing was saved"
        print(f"stopped, and {saved}; run it again to go on: the features are kept", file=sys.stderr)
        return EXIT_INTERRUPTED


def _train(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.cli import job_progress
    from lineup.features.training import saving
    from lineup.features.training.run import Trainings
    from lineup.images import sources

    if arguments.out:
        saving.require_new(arguments.out)
    if arguments.push:
        saving.require_repository(arguments.push)
    names = _added(service, arguments.backbones or [])
    if (chosen := arguments.save) and chosen not in (names or service.names):
        got, remedy = f"got {chosen!r}", f"use one of: {', '.join(names or service.names)}"
        raise LineupError("--save", "a backbone that is trained", got, remedy)
    with ExitStack() as stack:
        jobs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lineup-")))
        trainings = Trainings(service, jobs, ALONE_SLICE_S)
        names = names or trainings.candidates
        if arguments.cluster:
            if (computed := cluster_option.compute(service, arguments, names, "features", stack)) is None:
                raise KeyboardInterrupt
            images, elsewhere = computed
            trainings = Trainings(service, jobs, ALONE_SLICE_S, elsewhere)
        else:
            images = sources.open_source(arguments.source, stack, service.config.limits)
        training = trainings.create(images, names)
        if not job_progress.run(trainings, training, "steps"):
            raise KeyboardInterrupt
        found, status = trainings.report(training), trainings.status(training)
        problems = [status.problem] if status.problem else list(found.left_out.values())
        if status.problem or found.best is None:
            return report(problems)
        chosen = arguments.save or found.best.name
        saved, not_saved = _saved(trainings, training, chosen, arguments)
        problems += not_saved
        answer = found.to_json() | {"saved": saved, "saved_backbone": chosen if saved else None}
        print_answer(answer, arguments.json, lambda: _text(found, chosen, saved, arguments.out))
    return report(problems) if problems else 0


def _saved(
    trainings: "Trainings", training: str, backbone: str, arguments: argparse.Namespace
) -> tuple[list[str], list[str]]:
    """Save and push a backbone, and return where it is, and the problems: they must not cost the report."""
    saved, problems = list[str](), list[str]()
    try:
        if out := arguments.out:
            trainings.save(training, backbone, out)
            saved.append(str(out))
    except LineupError as error:
        problems.append(str(error))
    try:
        if repo := arguments.push:
            saved.append(trainings.push(training, backbone, repo, arguments.private))
    except LineupError as error:
        problems.append(str(error))
    return saved, problems


def _added(service: "Service", names: list[str]) -> list[str]:
    """Return the names of entries; those that are not in the config are added, as backbones of their own."""
    from lineup.features.training import saving

    for name in dict.fromkeys(names):
        if name not in service.names:
            service.add(saving.entry_of(name, name))
    return list(dict.fromkeys(names))


def _text(found: "TrainingReport", chosen: str, saved: list[str], out: Path | None) -> list[str]:
    """Return the lines to print."""
    from lineup.features.training.card import config_line
    from lineup.formatting import aligned

    rows = [("backbone", "accuracy", "held out", "ms", "MB", "head")]
    for each in found.ordered:
        held_out = each.held_out.text if each.held_out else "–"
        costs = [f"{cost:.1f}" if cost is not None else "–" for cost in (each.cost.forward_ms, each.cost.size_mb)]
        rows.append((each.name, each.accuracy.text, held_out, costs[0], costs[1], each.method))
    lines = [*aligned(rows, "lllrrl"), "", found.verdict.sentence, *found.advice]
    images = found.images.images
    for doubt in [doubt for each in found.backbones if each.name == chosen for doubt in each.doubtful[:5]]:
        lines.append(f"  {images[doubt.image].name}: {doubt.suggested}? ({doubt.probability:.0%})")
    lines += [f"  {images[pair.first].name} and {images[pair.second].name}" for pair in found.near_duplicates[:5]]
    lines += [*found.notes, *(f"saved {chosen} to {place}" for place in saved)]
    if out and str(out) in saved:
        lines += ["add it to the backbones of config.yaml, beside which the folder lies:", config_line(out.name)]
    return lines

"""The command `evaluate`: the verdict on a folder of images, as a table, JSON or files."""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.cli import cluster_option
from lineup.cli.output import EXIT_INTERRUPTED, print_answer, report

if TYPE_CHECKING:  # keep `--help` fast
    from lineup.service import Service

ALONE_SLICE_S = 1.0  # of a batch: there are no requests that wait for it


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add `evaluate`."""
    command = commands.add_parser(
        "evaluate",
        parents=[shared],
        help="tell which backbone suits a folder of images, and how sure that is",
        description="Classify all images of a folder with several backbones, and tell which one to take. Labels come "
        "from sub-folders, or from a metadata.jsonl or CSV file; without labels, the backbones' agreement is "
        "reported. Answers are kept: run it again after an interruption, or with another backbone, and only what is "
        "new is computed.",
    )
    command.add_argument("source", help="a folder, a zip file, or hf://datasets/OWNER/NAME")
    command.add_argument(
        "--backbone",
        action="append",
        dest="backbones",
        metavar="NAME",
        help="name of an entry; repeatable (default: all of the config)",
    )
    command.add_argument("--split", default="", help="evaluate only this split: train, validation or test")
    command.add_argument("--mapping", type=Path, metavar="FILE", help="what labels mean: a mapping.yaml, corrected")
    command.add_argument(
        "--scoring",
        default="among",
        choices=("among", "anywhere"),
        help="what counts as right: the best of the folder's labels, or the best of all classes (default: among)",
    )
    command.add_argument("--out", type=Path, metavar="FOLDER", help="write the report and all predictions to a folder")
    cluster_option.add(command)
    command.set_defaults(run=_evaluate)


def _evaluate(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.cli import job_progress
    from lineup.features.evaluation import exports, reading, text
    from lineup.features.evaluation.run import Evaluations
    from lineup.images import sources

    chosen = exports.read_mapping(arguments.mapping) if arguments.mapping else None
    names = arguments.backbones or service.names
    with ExitStack() as stack:
        jobs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lineup-")))
        elsewhere = None
        if arguments.cluster:
            if (computed := cluster_option.compute(service, arguments, names, "logits", stack)) is None:
                return _stopped()
            images, elsewhere = computed
        else:
            images = sources.open_source(arguments.source, stack, service.config.limits)
        evaluations = Evaluations(service, jobs, ALONE_SLICE_S, elsewhere)
        images = images.of_split(arguments.split) if arguments.split else images
        evaluation = evaluations.create(images, names)
        if not job_progress.run(evaluations, evaluation, "answers"):
            return _stopped()
        found = reading.report(evaluations, evaluation, chosen, arguments.scoring)
        if arguments.out:
            repeat = exports.command(
                arguments.source,
                names,
                arguments.mapping is not None,
                arguments.scoring,
                arguments.split,
                arguments.cluster,
            )
            files = exports.write_all(found, arguments.out, repeat, service.config)
            print(*(f"wrote {path}" for path in files), sep="\n", file=sys.stderr)
        problem = evaluations.status(evaluation).problem
    print_answer(found.to_json(), arguments.json, lambda: text.report(found))
    return report([problem] if problem else list(found.left_out.values())) if problem or not found.backbones else 0


def _stopped() -> int:
    print("stopped; run it again to go on: the answers so far are kept", file=sys.stderr)
    return EXIT_INTERRUPTED

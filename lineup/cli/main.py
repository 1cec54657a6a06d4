"""The command line: the results of the page and the API, as tables or as JSON."""

import argparse
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol

from lineup.cli import text
from lineup.cli.output import print_answer, report
from lineup.errors import ConfigError, LineupError

if TYPE_CHECKING:  # keep `--help` fast
    from lineup.service import Service


class Feature(Protocol):
    """The command-line part of a feature; each property names a ``module:function``, or is empty."""

    @property
    def commands(self) -> str:
        """The function that adds subcommands."""

    @property
    def notes(self) -> str:
        """The function that returns notes for `check`."""


def main(argv: Sequence[str] | None = None, features: Iterable[Feature] = ()) -> int:
    """Run one command; return the exit status: 0, or 2 with every problem on stderr."""
    features = list(features)
    arguments = parser(features).parse_args(argv)
    arguments.notes = [feature.notes for feature in features if feature.notes]
    # problems of backbones are reported once, at the end, without their tracebacks
    logging.basicConfig(level=logging.ERROR if arguments.verbose else logging.CRITICAL)
    from lineup import config

    try:
        settings = config.load(arguments.config)
        from lineup.service import Service  # a slow import: errors in the config are reported first

        status: int = arguments.run(Service(settings), arguments)
        return status
    except ConfigError as error:
        return report(error.problems)
    except LineupError as error:
        return report([str(error)])


def _classify(service: "Service", arguments: argparse.Namespace) -> int:
    answer = service.classify(arguments.image, arguments.backbone, arguments.top_k)
    loading_notes = service.status(answer.backbone).loading_notes
    print_answer(answer.to_json(), arguments.json, lambda: text.answer(answer, loading_notes))
    return 0


def _compare(service: "Service", arguments: argparse.Namespace) -> int:
    if arguments.backbones is None:
        service.probe()  # exclude what is unavailable
    comparison = service.compare(arguments.image, arguments.backbones, arguments.top_k)
    print_answer(comparison.to_json(), arguments.json, lambda: text.comparison(service, comparison))
    problems = [str(answer) for answer in comparison.answers.values() if isinstance(answer, LineupError)]
    return report(problems) if problems else 0


def _backbones(service: "Service", arguments: argparse.Namespace) -> int:
    statuses = service.probe(offline=arguments.offline)
    print_answer([status.to_json() for status in statuses], arguments.json, lambda: text.table(statuses))
    return 0


def _check(service: "Service", arguments: argparse.Namespace) -> int:
    statuses = service.probe(offline=arguments.offline)
    problems = service.problems()
    notes = service.notes()
    if not problems:
        notes += [note for name in arguments.notes for note in resolve_name(name)(service, arguments.config)]
    report_json = {"backbones": [status.to_json() for status in statuses], "problems": problems, "notes": notes}
    print_answer(report_json, arguments.json, lambda: text.checked(statuses, notes))
    return report(problems) if problems else 0


def parser(features: Iterable[Feature] = ()) -> argparse.ArgumentParser:
    """Return the argument parser, with the subcommands of features."""
    parser = argparse.ArgumentParser(
        prog="python -m lineup", description="Classify images with a line-up of backbones."
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--config",
        type=Path,
        default=Path(os.environ.get("LINEUP_CONFIG", "config.yaml")),
        help="the config file (default: config.yaml, or LINEUP_CONFIG)",
    )
    shared.add_argument("--json", action="store_true", help="print JSON, as the API returns it")
    shared.add_argument("--verbose", action="store_true", help="print the log, with tracebacks, to stderr")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    classify = commands.add_parser("classify", parents=[shared], help="classify an image")
    classify.add_argument("image", type=Path, help="an image file")
    classify.add_argument("--backbone", help="name of an entry (default: the config's default)")
    classify.add_argument("--top-k", type=int, help="how many labels (default: the config's top_k)")
    classify.set_defaults(run=_classify)

    compare = commands.add_parser("compare", parents=[shared], help="compare backbones on an image")
    compare.add_argument("image", type=Path, help="an image file")
    compare.add_argument(
        "--backbones",
        action="append",
        metavar="NAME",
        help="name of an entry; repeatable (default: the first available ones, up to limits.max_compared)",
    )
    compare.add_argument("--top-k", type=int, help="how many labels per backbone (default: the config's top_k)")
    compare.set_defaults(run=_compare)

    for name, run, summary in (
        ("backbones", _backbones, "list the backbones of the line-up"),
        ("check", _check, "check the config and every entry without loading weights; exit 2 on a problem"),
    ):
        command = commands.add_parser(name, parents=[shared], help=summary)
        command.add_argument("--offline", action="store_true", help="send no requests: download sizes stay unknown")
        command.set_defaults(run=run)

    for feature in features:
        if feature.commands:
            resolve_name(feature.commands)(commands, shared)
    return parser

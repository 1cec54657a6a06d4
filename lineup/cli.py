"""The command line: the same answers as the page and the API, as tables or as JSON."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup.errors import ConfigError, LineupError

if TYPE_CHECKING:  # `--help` waits for none of these
    from lineup.results import BackboneStatus, Classification
    from lineup.service import Comparison, Service

EXIT_WRONG = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 when something is wrong, with every problem told on stderr."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.ERROR)  # what went wrong with a backbone is told once, at the end
    from lineup import config

    try:
        chosen = config.load(arguments.config)
        from lineup.service import Service  # a mistake in the config is told before

        status: int = arguments.run(Service(chosen), arguments)
        return status
    except ConfigError as error:
        return _wrong(error.problems)
    except LineupError as error:
        return _wrong([str(error)])


def _classify(service: "Service", arguments: argparse.Namespace) -> int:
    answer = service.classify(arguments.image, arguments.backbone, arguments.top_k)
    _print(answer.to_json(), arguments.json, lambda: _answer_lines(answer))
    return 0


def _compare(service: "Service", arguments: argparse.Namespace) -> int:
    if arguments.backbones is None:
        service.look()  # nothing is loaded yet: what cannot be had is left out
    found = service.compare(arguments.image, arguments.backbones, arguments.top_k)
    _print(found.to_json(), arguments.json, lambda: _comparison_lines(service, found))
    problems = [str(answer) for answer in found.answers.values() if isinstance(answer, LineupError)]
    return _wrong(problems) if problems else 0


def _backbones(service: "Service", arguments: argparse.Namespace) -> int:
    found = service.look(offline=arguments.offline)
    _print([status.to_json() for status in found], arguments.json, lambda: _table(found))
    return 0


def _check(service: "Service", arguments: argparse.Namespace) -> int:
    found = service.look(offline=arguments.offline)
    problems = service.problems()
    told = {"backbones": [status.to_json() for status in found], "problems": problems}
    _print(told, arguments.json, lambda: [*_table(found), *(f"note: {note}" for note in service.notes())])
    return _wrong(problems) if problems else 0


def _print(value: Any, as_json: bool, lines: Callable[[], list[str]]) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False) if as_json else "\n".join(lines()))


def _wrong(problems: Sequence[str]) -> int:
    print(*(f"error: {problem}" for problem in problems), sep="\n", file=sys.stderr)
    return EXIT_WRONG


def _answer_lines(answer: "Classification") -> list[str]:
    width = max(len(prediction.label) for prediction in answer.predictions)
    lines = [f"{prediction.label:<{width}}  {prediction.probability:7.2%}" for prediction in answer.predictions]
    height, across = answer.input_size
    ran = (
        f"{answer.backbone} · {across} × {height} px · {answer.engine} on {answer.device} · "
        f"{answer.milliseconds.total:.0f} ms · {answer.label_set} · weights: {answer.license or 'licence not stated'}"
    )
    return [*lines, "", ran, *(f"note: {note}" for note in answer.notes)]


def _comparison_lines(service: "Service", found: "Comparison") -> list[str]:
    from lineup.standings import row

    said, notes = [], []
    rows: list[Sequence[str]] = [("backbone", "says", "probability", "forward", "parameters", "ImageNet top-1")]
    forms = {"probability": "{:.2%}", "last_ms": "{:.0f} ms", "parameters": "{:,}", "imagenet_top1": "{:.1f} %"}
    for name, answer in found.answers.items():
        told = row(service.pool.status(name), service.timing(name), answer)
        rows.append((name, told["label"] or "-", *(_or_dash(told[key], form) for key, form in forms.items())))
        if not isinstance(answer, LineupError):
            said.append(f"{name}: {', '.join(f'{each.label} {each.probability:.1%}' for each in answer.predictions)}")
            notes += [f"note: {name}: {note}" for note in answer.notes]
    return [*_aligned(rows, "llrrrr"), "", *said, "", found.agreement.sentence, *notes]


def _table(found: "Sequence[BackboneStatus]") -> list[str]:
    rows = [("name", "source", "status", "classes", "parameters", "download", "licence")]
    for status in found:
        classes, parameters = _or_dash(status.num_classes, "{:,}"), _or_dash(status.parameters, "{:,}")
        download = _or_dash((status.download_bytes or 0) / 1e6, "{:.1f} MB")
        licence = status.license or "-"
        rows.append((status.name, status.source, status.status, classes, parameters, download, licence))
    return _aligned(rows, "lllrrrl")


def _aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Put cells under one another, each column to its side: l or r."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = {"l": str.ljust, "r": str.rjust}
    return [
        "  ".join(align[side](cell, width) for side, cell, width in zip(sides, row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _or_dash(value: float | None, form: str) -> str:
    return form.format(value) if value else "-"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lineup", description="Classify pictures with a line-up of backbones."
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--config",
        type=Path,
        default=Path(os.environ.get("LINEUP_CONFIG", "config.yaml")),
        help="the config file (default: config.yaml, or LINEUP_CONFIG)",
    )
    shared.add_argument("--json", action="store_true", help="print JSON, the same that the API answers")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    classify = commands.add_parser("classify", parents=[shared], help="classify a picture")
    classify.add_argument("image", type=Path, help="a picture file")
    classify.add_argument("--backbone", help="name of an entry (default: the config's default)")
    classify.add_argument("--top-k", type=int, help="how many labels (default: the config's top_k)")
    classify.set_defaults(run=_classify)

    compare = commands.add_parser("compare", parents=[shared], help="compare backbones on a picture")
    compare.add_argument("image", type=Path, help="a picture file")
    compare.add_argument(
        "--backbones",
        action="append",
        metavar="NAME",
        help="name of an entry; once for each (default: those that can run, as many as fit)",
    )
    compare.add_argument("--top-k", type=int, help="how many labels of each (default: the config's top_k)")
    compare.set_defaults(run=_compare)

    for name, run, told in (
        ("backbones", _backbones, "list the line-up: what each backbone is"),
        ("check", _check, "check the config and every entry without loading its weights; exit 2 if one is wrong"),
    ):
        command = commands.add_parser(name, parents=[shared], help=told)
        command.add_argument("--offline", action="store_true", help="ask nobody: sizes stay unknown")
        command.set_defaults(run=run)
    return parser

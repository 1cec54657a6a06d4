"""The command line: the same answers as the page and the API, as tables or as JSON."""

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup import lines
from lineup.errors import ConfigError, LineupError

if TYPE_CHECKING:  # `--help` waits for none of these
    from lineup.registry import Plan
    from lineup.service import Service
    from lineup.space import Wish

EXIT_WRONG = 2
EXIT_INTERRUPTED = 130  # as shells say it


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
    _print(answer.to_json(), arguments.json, lambda: lines.answer(answer))
    return 0


def _compare(service: "Service", arguments: argparse.Namespace) -> int:
    if arguments.backbones is None:
        service.look()  # nothing is loaded yet: what cannot be had is left out
    found = service.compare(arguments.image, arguments.backbones, arguments.top_k)
    _print(found.to_json(), arguments.json, lambda: lines.comparison(service, found))
    problems = [str(answer) for answer in found.answers.values() if isinstance(answer, LineupError)]
    return _wrong(problems) if problems else 0


def _backbones(service: "Service", arguments: argparse.Namespace) -> int:
    found = service.look(offline=arguments.offline)
    _print([status.to_json() for status in found], arguments.json, lambda: lines.table(found))
    return 0


def _check(service: "Service", arguments: argparse.Namespace) -> int:
    found = service.look(offline=arguments.offline)
    problems = service.problems()
    notes = service.notes() + ([] if problems else _stale(service, arguments.config))
    told = {"backbones": [status.to_json() for status in found], "problems": problems, "notes": notes}
    _print(told, arguments.json, lambda: [*lines.table(found), *(f"note: {note}" for note in notes)])
    return _wrong(problems) if problems else 0


def _stale(service: "Service", config: Path) -> list[str]:
    """Say what a README's front matter should say by now, if there is one that is this config's."""
    from lineup import card

    readme = _readme(config)
    keys = card.stale(service.config, service.pool.plan, readme) if readme.is_file() else []
    found = f"got another {', '.join(keys)}; run python -m lineup readme"
    return [f"{readme.name}: expected the front matter that {config.name} gives; {found}"] if keys else []


def _readme(config: Path) -> Path:
    """Return the README.md that belongs to a config: the one beside a config.yaml."""
    return config.with_name("README.md" if config.name == "config.yaml" else f"{config.stem}.README.md")


def _write_readme(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup import card

    for entry in service.config.backbones:
        if entry.source == "timm":  # of all others their names say where they are
            service.pool.look(entry.name, offline=True)
    readme = _readme(arguments.config)
    text = card.text(service.config, service.pool.plan, readme, ask=not arguments.offline)
    changed = _rewrite(readme, text)
    told = {"file": str(readme), "changed": changed}
    _print(told, arguments.json, lambda: [f"{readme}: {'written' if changed else 'nothing changed'}"])
    problems = service.problems()
    return _wrong(problems) if problems else 0


def _rewrite(path: Path, text: str) -> bool:
    """Write a file, unless that is what stands in it."""
    changed = not path.is_file() or path.read_bytes() != text.encode()
    if changed:
        path.write_bytes(text.encode())
    return changed


def _push(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup import card, parcel, space

    wish = _wish(arguments)
    service.look()
    if problems := service.problems():
        return _wrong(problems)
    config, readme = service.config, _readme(arguments.config)
    text = card.text(config, service.pool.plan, readme, ask=True)
    files = parcel.collect(config, arguments.config, text)
    plan = space.plan(files, wish, config.space.hardware, arguments.dry_run)
    if arguments.dry_run:
        _print(plan.to_json(), arguments.json, lambda: lines.push(plan))
        return 0
    tell = partial(print, file=sys.stderr if arguments.json else sys.stdout, flush=True)
    if not arguments.json:
        tell("\n".join(lines.push(plan)))
    _rewrite(readme, text)
    commit = space.push(plan, tell)
    tell("now the Hub builds it; that goes on if you leave")
    try:
        stage = space.wait(wish, commit, tell)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    _print(
        {**plan.to_json(), "commit": commit, "stage": stage}, arguments.json, lambda: [f"{stage.lower()}: {wish.url}"]
    )
    return 0


def _wish(arguments: argparse.Namespace) -> "Wish":
    """Take the arguments of `push` apart that are not the config's.

    Raises:
        LineupError: when one is not of its form.
    """
    from huggingface_hub import SpaceHardware

    from lineup.config import did_you_mean
    from lineup.space import Wish

    _refuse_unless_name("SPACE", arguments.space)
    known = [each.value for each in SpaceHardware]
    if arguments.hardware and arguments.hardware not in known:
        hint = did_you_mean(arguments.hardware, known) or f"; use one of: {', '.join(known)}"
        raise LineupError(f"--hardware: expected one of the Hub's; got {arguments.hardware!r}{hint}")
    for name in arguments.secret:
        if not os.environ.get(name):
            raise LineupError(
                f"--secret: expected an environment variable, so that the value is on no command line; {name[:60]!r} "
                "is not set; set it"
            )
    variables = dict[str, str]()
    for text in arguments.variable:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise LineupError(f"--variable: expected NAME=VALUE; got {text[:60]!r}; mend it")
        variables[name] = value
    secrets = {name: os.environ[name] for name in arguments.secret}
    return Wish(arguments.space, arguments.hardware, arguments.private, secrets, variables)


def _refuse_unless_name(argument: str, space: str) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", space):
        raise LineupError(f"{argument}: expected owner/name, such as me/my-lineup; got {space!r}; mend it")


def _doctor(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup import doctor

    def plan(name: str) -> "Plan | None":
        service.pool.look(name, offline=True)
        return service.pool.plan(name)

    if arguments.space:
        _refuse_unless_name("OWNER/NAME", arguments.space)
    config, found = service.config, []
    for check in doctor.examine(doctor.sample(config, plan), config.space.hardware, arguments.space):
        found.append(check)
        if not arguments.json:
            print(lines.check(check), flush=True)  # the next one may take seconds
    if arguments.json:
        _print([each.to_json() for each in found], True, list)
    return EXIT_WRONG if any(each.outcome == "failed" for each in found) else 0


def _print(value: Any, as_json: bool, told: Callable[[], list[str]]) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False) if as_json else "\n".join(told()))


def _wrong(problems: Sequence[str]) -> int:
    print(*(f"error: {problem}" for problem in problems), sep="\n", file=sys.stderr)
    return EXIT_WRONG


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
        help="name of an entry; once for each (default: the first that can be had, as many as limits.max_compared)",
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

    readme = commands.add_parser("readme", parents=[shared], help="write the front matter of README.md for a Space")
    readme.add_argument("--offline", action="store_true", help="ask nobody: what was found before is believed")
    readme.set_defaults(run=_write_readme)

    doctor = commands.add_parser(
        "doctor",
        parents=[shared],
        help="try the Hub from this machine: what a download and a push would meet; exit 2 if a check failed",
        description="Try the Hub from this machine, and change nothing there. A check that needs a token is skipped "
        "without one, and that is no failure; exit status 2 says that a check failed.",
    )
    doctor.add_argument(
        "space", metavar="OWNER/NAME", nargs="?", default="", help="a Space to push to (default: yours, named lineup)"
    )
    doctor.set_defaults(run=_doctor)

    push = commands.add_parser("push", parents=[shared], help="put the page on the Hub as a Space, and wait for it")
    push.add_argument("space", metavar="SPACE", help="owner/name of the Space; created if it is not there")
    push.add_argument("--dry-run", action="store_true", help="print what would change, and change nothing")
    push.add_argument(
        "--hardware", default="", help="what to run on (default for a new one: the config's space.hardware)"
    )
    push.add_argument("--private", action="store_true", help="create it so that nobody else sees it")
    push.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME",
        help="set a secret to this environment variable's value",
    )
    push.add_argument("--variable", action="append", default=[], metavar="NAME=VALUE", help="set a variable")
    push.set_defaults(run=_push)
    return parser

"""The commands that bring the page to the Hub: readme, push, doctor."""

import argparse
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.cli.output import EXIT_INTERRUPTED, EXIT_WRONG, print_answer, report
from lineup.errors import LineupError, did_you_mean
from lineup.features.publish import text

if TYPE_CHECKING:  # `--help` waits for none of these
    from lineup.features.publish.space import PushOptions
    from lineup.service import Service


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add `readme`, `doctor` and `push`."""
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


def stale_card(service: "Service", config: Path) -> list[str]:
    """Say what a README's front matter should say by now, if there is one that is this config's."""
    from lineup.features.publish import card

    readme = _readme(config)
    keys = card.stale(service.config, service.weights, readme) if readme.is_file() else []
    found = f"got another {', '.join(keys)}; run python -m lineup readme"
    return [f"{readme.name}: expected the front matter that {config.name} gives; {found}"] if keys else []


def _readme(config: Path) -> Path:
    """Return the README.md that belongs to a config: the one beside a config.yaml."""
    return config.with_name("README.md" if config.name == "config.yaml" else f"{config.stem}.README.md")


def _write_readme(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.features.publish import card

    readme = _readme(arguments.config)
    content = card.text(service.config, service.weights, readme, ask=not arguments.offline)
    changed = _rewrite(readme, content)
    told = {"file": str(readme), "changed": changed}
    print_answer(told, arguments.json, lambda: [f"{readme}: {'written' if changed else 'nothing changed'}"])
    problems = service.problems()
    return report(problems) if problems else 0


def _rewrite(path: Path, content: str) -> bool:
    """Write a file, unless that is what stands in it."""
    changed = not path.is_file() or path.read_bytes() != content.encode()
    if changed:
        path.write_bytes(content.encode())
    return changed


def _push(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.features.publish import card, files, space

    wish = _wish(arguments)
    service.look()
    if problems := service.problems():
        return report(problems)
    config, readme = service.config, _readme(arguments.config)
    content = card.text(config, service.weights, readme, ask=True)
    collected = files.collect(config, arguments.config, content)
    plan = space.plan(collected, wish, config.space.hardware, arguments.dry_run)
    if arguments.dry_run:
        print_answer(plan.to_json(), arguments.json, lambda: text.push(plan))
        return 0
    tell = partial(print, file=sys.stderr if arguments.json else sys.stdout, flush=True)
    if not arguments.json:
        tell("\n".join(text.push(plan)))
    _rewrite(readme, content)
    commit = space.push(plan, tell)
    tell("now the Hub builds it; that goes on if you leave")
    try:
        stage = space.wait(wish, commit, tell)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    print_answer(
        {**plan.to_json(), "commit": commit, "stage": stage}, arguments.json, lambda: [f"{stage.lower()}: {wish.url}"]
    )
    return 0


def _wish(arguments: argparse.Namespace) -> "PushOptions":
    """Take the arguments of `push` apart that are not the config's.

    Raises:
        LineupError: when one is not of its form.
    """
    from huggingface_hub import SpaceHardware

    from lineup.features.publish.space import PushOptions

    _refuse_unless_name("SPACE", arguments.space)
    known = [each.value for each in SpaceHardware]
    if arguments.hardware and arguments.hardware not in known:
        hint = did_you_mean(arguments.hardware, known) or f"use one of: {', '.join(known)}"
        raise LineupError("--hardware", "one of the Hub's", f"got {arguments.hardware!r}", hint)
    for name in arguments.secret:
        if not os.environ.get(name):
            raise LineupError(
                "--secret",
                "an environment variable, so that the value is on no command line",
                f"{name[:60]!r} is not set",
                "set it",
            )
    variables = dict[str, str]()
    for pair in arguments.variable:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise LineupError("--variable", "NAME=VALUE", f"got {pair[:60]!r}", "mend it")
        variables[name] = value
    secrets = {name: os.environ[name] for name in arguments.secret}
    return PushOptions(arguments.space, arguments.hardware, arguments.private, secrets, variables)


def _refuse_unless_name(argument: str, space: str) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", space):
        raise LineupError(argument, "owner/name, such as me/my-lineup", f"got {space!r}", "mend it")


def _doctor(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.features.publish import doctor

    if arguments.space:
        _refuse_unless_name("OWNER/NAME", arguments.space)
    config, found = service.config, []
    for check in doctor.examine(doctor.sample(config, service.weights), config.space.hardware, arguments.space):
        found.append(check)
        if not arguments.json:
            print(text.check(check), flush=True)  # the next one may take seconds
    if arguments.json:
        print_answer([each.to_json() for each in found], True, list)
    return EXIT_WRONG if any(each.outcome == "failed" for each in found) else 0

"""The commands that publish the page on the Hub: readme, doctor, push."""

import argparse
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from lineup.cli.output import EXIT_ERROR, EXIT_INTERRUPTED, print_answer, report
from lineup.errors import LineupError, did_you_mean
from lineup.features.publish import text

if TYPE_CHECKING:  # keep `--help` fast
    from lineup.features.publish.space import PushOptions
    from lineup.service import Service


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add `readme`, `doctor` and `push`."""
    readme = commands.add_parser("readme", parents=[shared], help="write the front matter of README.md for a Space")
    readme.add_argument("--offline", action="store_true", help="send no requests: reuse what the file lists")
    readme.set_defaults(run=_write_readme)

    doctor = commands.add_parser(
        "doctor",
        parents=[shared],
        help="check that downloads and a push work from this machine; exit 2 if a check failed",
        description="Check the Hub from this machine, and change nothing there. Without a token, checks that need one "
        "are skipped, which is not a failure. The exit status is 2 if a check failed.",
    )
    doctor.add_argument(
        "space",
        metavar="OWNER/NAME",
        nargs="?",
        default="",
        help="the Space to check a push to (default: your own, named lineup)",
    )
    doctor.set_defaults(run=_doctor)

    push = commands.add_parser("push", parents=[shared], help="publish the page as a Space, and wait for the build")
    push.add_argument("space", metavar="SPACE", help="owner/name of the Space; created if it does not exist")
    push.add_argument("--dry-run", action="store_true", help="print the changes without making them")
    push.add_argument(
        "--hardware", default="", help="hardware of the Space (default for a new one: the config's space.hardware)"
    )
    push.add_argument("--private", action="store_true", help="create a private Space")
    push.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME",
        help="set a secret to the value of this environment variable",
    )
    push.add_argument("--variable", action="append", default=[], metavar="NAME=VALUE", help="set a variable")
    push.set_defaults(run=_push)


def notes(service: "Service", config: Path) -> list[str]:
    """Return a note for each file that a push could not upload, and one if the front matter of README.md is stale."""
    from lineup.features.publish import card, files

    readme = _readme(config)
    keys = card.stale(service.config, service.weights, readme) if readme.is_file() else []
    got = f"got a different {', '.join(keys)}; run python -m lineup readme"
    stale = [f"{readme.name}: expected the front matter derived from {config.name}; {got}"] if keys else []
    return [*map(str, files.outside(service.config)), *stale]


def _readme(config: Path) -> Path:
    """Return the path of a config's README: README.md for a config.yaml, else one prefixed with its stem."""
    return config.with_name("README.md" if config.name == "config.yaml" else f"{config.stem}.README.md")


def _write_readme(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.features.publish import card

    readme = _readme(arguments.config)
    content = card.text(service.config, service.weights, readme, query_hub=not arguments.offline)
    changed = _rewrite(readme, content)
    result = {"file": str(readme), "changed": changed}
    print_answer(result, arguments.json, lambda: [f"{readme}: {'written' if changed else 'nothing changed'}"])
    problems = service.problems()
    return report(problems) if problems else 0


def _rewrite(path: Path, content: str) -> bool:
    """Write a file if its content differs; return whether it did."""
    changed = not path.is_file() or path.read_bytes() != content.encode()
    if changed:
        path.write_bytes(content.encode())
    return changed


def _push(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.features.publish import card, files, space

    options = _options(arguments)
    service.probe()
    if problems := service.problems():
        return report(problems)
    config, readme = service.config, _readme(arguments.config)
    content = card.text(config, service.weights, readme, query_hub=True)
    collected = files.collect(config, arguments.config, content, service.requirements())
    plan = space.plan(collected, options, config.space.hardware, arguments.dry_run)
    if arguments.dry_run:
        print_answer(plan.to_json(), arguments.json, lambda: text.push(plan))
        return 0
    progress = partial(print, file=sys.stderr if arguments.json else sys.stdout, flush=True)
    if not arguments.json:
        progress("\n".join(text.push(plan)))
    _rewrite(readme, content)
    commit = space.push(plan, progress)
    progress("waiting for the build; Ctrl-C stops waiting, not the build")
    try:
        stage = space.wait(options, commit, progress)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    print_answer(
        {**plan.to_json(), "commit": commit, "stage": stage},
        arguments.json,
        lambda: [f"{stage.lower()}: {options.url}"],
    )
    return 0


def _options(arguments: argparse.Namespace) -> "PushOptions":
    """Parse and validate the arguments of `push`.

    Raises:
        LineupError: an argument is invalid.
    """
    from lineup.config.models import Hardware
    from lineup.features.publish.space import PushOptions

    _require_space_name("SPACE", arguments.space)
    known = list(get_args(Hardware))
    if arguments.hardware and arguments.hardware not in known:
        hint = did_you_mean(arguments.hardware, known) or f"use one of: {', '.join(known)}"
        raise LineupError("--hardware", "hardware of the Hub", f"got {arguments.hardware!r}", hint)
    for name in arguments.secret:
        if not os.environ.get(name):
            raise LineupError(
                "--secret",
                "an environment variable, which keeps the value off the command line",
                f"{name[:60]!r} is not set",
                "set it",
            )
    variables = dict[str, str]()
    for pair in arguments.variable:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise LineupError("--variable", "NAME=VALUE", f"got {pair[:60]!r}", "fix the argument")
        variables[name] = value
    secrets = {name: os.environ[name] for name in arguments.secret}
    return PushOptions(arguments.space, arguments.hardware, arguments.private, secrets, variables)


def _require_space_name(argument: str, space: str) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", space):
        raise LineupError(argument, "owner/name, such as me/my-lineup", f"got {space!r}", "fix the argument")


def _doctor(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.features.publish import doctor

    if arguments.space:
        _require_space_name("OWNER/NAME", arguments.space)
    config, checks = service.config, []
    for check in doctor.examine(doctor.sample(config, service.weights), config.space.hardware, arguments.space):
        checks.append(check)
        if not arguments.json:
            print(text.check(check), flush=True)  # the next check may take seconds
    if arguments.json:
        print_answer([check.to_json() for check in checks], True, list)
    return EXIT_ERROR if any(check.outcome == "failed" for check in checks) else 0

"""Puts the line-up on the Hub as a Space: says what would change, changes it in one commit, and waits for the build.

The only module that writes to the Hub. The Space keeps a list of what the last push put there, so that the next
one deletes what is no longer wanted, and nothing that somebody added by hand.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceInfo, constants
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils._http import get_session  # huggingface_hub does not pass it on to type checkers

from lineup.errors import LineupError
from lineup.features.publish.files import MANIFEST, File
from lineup.hub.problems import RefusalError, told

ASK_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 120.0  # the Hub's client itself would wait for ever
BUILD_TIMEOUT_S = 1800.0
SETTLE_S = 60.0  # until then what runs may still be the commit before
POLL_S = 5.0
LOG_LINES = 20
_BUILDING = ("BUILDING", "RUNNING_BUILDING", "APP_STARTING", "RUNNING_APP_STARTING")
_BROKEN = {"BUILD_ERROR": True, "CONFIG_ERROR": True, "NO_APP_FILE": True, "RUNTIME_ERROR": False}  # by the build?


@dataclass(frozen=True)
class PushOptions:
    """Which Space, and what is asked for beside the config."""

    repo: str
    hardware: str = ""  # empty: what the config says for a new Space, what it has for another
    private: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{constants.ENDPOINT}/spaces/{self.repo}"


@dataclass(frozen=True)
class Plan:
    """What a push would change, file by file."""

    wish: PushOptions
    state: str  # new, exists, or unknown: and why
    head: str  # the commit that this is about; empty if there is none
    files: Mapping[str, File] = field(repr=False)
    changes: Mapping[str, str]  # path → new, changed, same; push if nobody knows; deleted
    notes: tuple[str, ...] = ()

    @property
    def nothing_changes(self) -> bool:
        return set(self.changes.values()) == {"same"}

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the command line prints it; of secrets only the names."""
        files = [
            {"path": path, "bytes": self.files[path].size_bytes if path in self.files else None, "change": change}
            for path, change in self.changes.items()
        ]
        wish = {"hardware": self.wish.hardware or None, "private": self.wish.private}
        asked = {**wish, "secrets": list(self.wish.secrets), "variables": dict(self.wish.variables)}
        head = {"space": self.wish.repo, "url": self.wish.url, "state": self.state}
        return {**head, **asked, "files": files, "notes": list(self.notes)}


def plan(files: Mapping[str, File], wish: PushOptions, hardware: str, dry_run: bool = False) -> Plan:
    """Compare with what is on the Hub. Changes nothing.

    Args:
        files: what the Space should have, by path.
        wish: which Space.
        hardware: what a new Space runs on if the wish does not say.
        dry_run: plan as well as can be when the Hub does not answer.

    Raises:
        LineupError: when the Space is somebody else's or another app's, or, but for a dry run, nobody can tell.
    """
    new = replace(wish, hardware=wish.hardware or hardware)
    try:
        info, last = _look(wish)
    except RefusalError as error:
        if not dry_run:
            raise
        return Plan(new, f"unknown: {error.got}", "", files, dict.fromkeys(files, "push"))
    if info is None:
        return Plan(new, "new", "", files, dict.fromkeys(files, "new"))
    there = {each.rfilename: each.lfs.sha256 if each.lfs else str(each.blob_id) for each in info.siblings or []}
    if not last and is_another_app(there):
        raise LineupError(wish.repo, "a new name, or a Space of Lineup's", "it is another app's", "choose another name")
    if wish.private and info.private is False:
        raise LineupError(wish.repo, "a private Space", "it is public", f"make it private at {wish.url}/settings")
    changes, notes = dict[str, str](), list[str]()
    for path, file in files.items():
        changes[path] = "new" if path not in there else "same" if there[path] in file.oids else "changed"
        if changes[path] == "changed" and path in last and there[path] not in last[path]:
            notes.append(f"{path} was edited on the Space since the last push: this push overwrites it")
    for path in sorted(last.keys() & there.keys() - files.keys()):
        if there[path] in last[path]:
            changes[path] = "deleted"
        else:
            notes.append(f"{path} was edited on the Space since the last push: it stays, though nothing needs it")
    return Plan(wish, "exists", info.sha or "", files, changes, tuple(notes))


def is_another_app(paths: Iterable[str]) -> bool:
    """Tell whether files are another app's; a Space is born with two that are nobody's."""
    there = set(paths) - {".gitattributes", "README.md"}
    return bool(there) and "lineup/__main__.py" not in there


def _look(wish: PushOptions) -> tuple[SpaceInfo | None, Mapping[str, Sequence[str]]]:
    """Return what the Hub says of the Space, None if it is not there, and the list of the last push."""
    api = HfApi()
    with told(wish.repo, "to look at the Space"):
        try:
            info = api.space_info(wish.repo, files_metadata=True, timeout=ASK_TIMEOUT_S)
        except RepositoryNotFoundError:
            return None, {}
        if MANIFEST not in (each.rfilename for each in info.siblings or []):
            return info, {}
        path = api.hf_hub_download(
            wish.repo, MANIFEST, repo_type="space", revision=info.sha, etag_timeout=ASK_TIMEOUT_S
        )
    try:
        listed = json.loads(Path(path).read_text(encoding="utf-8"))
        return info, {str(name): list(map(str, oids)) for name, oids in listed.items()}
    except (ValueError, AttributeError, TypeError):
        return info, {}  # somebody edited it: nothing is deleted then


def push(plan: Plan, tell: Callable[[str], None]) -> str:
    """Do what a plan says, and return the Space's commit. Whatever was cut off is finished by pushing again.

    Args:
        plan: what to do.
        tell: called with each step, once it is done.
    """
    api, wish, head = HfApi(), plan.wish, plan.head
    get_session().timeout = ANSWER_TIMEOUT_S
    if plan.state == "new":
        with told(wish.repo, f"to create the Space on {wish.hardware}", wish.hardware):
            settings: dict[str, Any] = {"private": wish.private or None, "space_hardware": wish.hardware}
            api.create_repo(wish.repo, repo_type="space", space_sdk="gradio", **settings)
        tell(f"created {wish.url} on {wish.hardware}")
    with told(wish.repo, "to set the Space's hardware, secrets and variables", wish.hardware):
        _set(api, plan, tell)
    if plan.nothing_changes:
        tell("nothing changed: no commit")
        return head
    operations = [
        CommitOperationDelete(path) if change == "deleted" else CommitOperationAdd(path, plan.files[path].content)
        for path, change in plan.changes.items()
        if change != "same"
    ]
    with told(wish.repo, f"to commit {len(operations)} files"):
        message = "Push with python -m lineup push"
        commit = api.create_commit(
            wish.repo, operations, commit_message=message, repo_type="space", parent_commit=head or None
        )
    tell(f"committed {commit.oid[:8]}: {wish.url}/commit/{commit.oid}")
    return str(commit.oid)


def _set(api: HfApi, plan: Plan, tell: Callable[[str], None]) -> None:
    wish = plan.wish
    if wish.hardware and plan.state == "exists":
        now = api.get_space_runtime(wish.repo)
        if wish.hardware != (now.requested_hardware or now.hardware):
            api.request_space_hardware(wish.repo, wish.hardware)  # type: ignore[arg-type]
            tell(f"asked for {wish.hardware}")
    known = api.get_space_variables(wish.repo) if wish.variables else {}
    for key, value in wish.variables.items():
        if key not in known or known[key].value != value:
            api.add_space_variable(wish.repo, key, value)
            tell(f"set the variable {key}")
    for key, value in wish.secrets.items():  # the Hub tells nobody what it has
        api.add_space_secret(wish.repo, key, value)
        tell(f"set the secret {key}")


def wait(wish: PushOptions, commit: str, tell: Callable[[str], None]) -> str:
    """Wait until the Space is built, and return its stage.

    Raises:
        LineupError: when it cannot be built or started, with the log's lines that say why.
    """
    api, started, stage = HfApi(), time.monotonic(), ""
    with told(wish.repo, "to see the Space's build"):
        while True:
            runtime, waited_s = api.get_space_runtime(wish.repo), time.monotonic() - started
            ours = runtime.raw.get("sha") in (None, commit) or waited_s > SETTLE_S
            if ours and runtime.stage not in _BUILDING:
                break
            if waited_s > BUILD_TIMEOUT_S:
                raise LineupError(
                    wish.repo,
                    f"it to run after {BUILD_TIMEOUT_S / 60:.0f} minutes",
                    f"it is {runtime.stage}",
                    f"look at {wish.url}?logs=build, or push again to wait on",
                )
            if runtime.stage != stage:
                stage = runtime.stage
                tell(f"{stage.lower().replace('_', ' ')} …")
            time.sleep(POLL_S)
        if runtime.stage not in _BROKEN:
            return str(runtime.stage)
        by_build = _BROKEN[runtime.stage]
        lines = _wrong_lines(api, wish.repo, by_build)
    said = str(runtime.raw.get("errorMessage") or "").strip()
    raise LineupError(
        wish.repo,
        "a Space that runs",
        f"it is {runtime.stage}{said and f' ({said})'}",
        "mend what the log says, and push again; "
        f"all of it is at {wish.url}?logs={'build' if by_build else 'container'}"
        + "".join(f"\n  {line}" for line in lines),
    )


def _wrong_lines(api: HfApi, repo: str, by_build: bool) -> list[str]:
    """Return the log's last lines that tell of errors, or else its last lines."""
    try:
        texts = list(api.fetch_space_logs(repo, build=by_build))
    except (HfHubHTTPError, httpx2.HTTPError):
        return []  # the stage is told all the same
    lines = [line.rstrip() for text in texts for line in text.splitlines() if line.strip()]
    telling = re.compile(r"error|fail|conflict|not found|no matching|denied", re.IGNORECASE)
    return (list(filter(telling.search, lines)) or lines)[-LOG_LINES:]

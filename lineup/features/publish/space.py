"""Publish the line-up as a Space on the Hub: plan the changes, push them in one commit, wait for the build.

The only module that writes to the Hub. The Space holds a manifest of the files of the last push, so that the next
push deletes obsolete files, but none that were added or edited by hand.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceInfo, constants, get_session
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from lineup.errors import LineupError
from lineup.features.publish.files import MANIFEST, File
from lineup.hub.problems import HubRequestError, hub_errors

ASK_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 120.0  # the Hub's client has no timeout of its own
BUILD_TIMEOUT_S = 1800.0
SETTLE_S = 60.0  # during this time the stage may still be that of the previous commit
POLL_S = 5.0
LOG_LINES = 20
_BUILDING = ("BUILDING", "RUNNING_BUILDING", "APP_STARTING", "RUNNING_APP_STARTING")
# whether the build log, and not the container log, has the cause
_BROKEN = {"BUILD_ERROR": True, "CONFIG_ERROR": True, "NO_APP_FILE": True, "RUNTIME_ERROR": False}


@dataclass(frozen=True)
class PushOptions:
    """The Space to push to, and the settings that are not in the config."""

    repo: str
    hardware: str = ""  # empty: the config's for a new Space, unchanged for an existing one
    private: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{constants.ENDPOINT}/spaces/{self.repo}"


@dataclass(frozen=True)
class Plan:
    """The changes that a push would make, file by file."""

    options: PushOptions
    state: str  # "new", "exists", or "unknown: " and the reason
    head: str  # the parent commit; empty if there is none
    files: Mapping[str, File] = field(repr=False)
    changes: Mapping[str, str]  # path → new, changed, same or deleted; push if unknown
    notes: tuple[str, ...] = ()

    @property
    def nothing_changes(self) -> bool:
        return set(self.changes.values()) == {"same"}

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the command line prints it; of secrets, only the names."""
        files = [
            {"path": path, "bytes": self.files[path].size_bytes if path in self.files else None, "change": change}
            for path, change in self.changes.items()
        ]
        options = self.options
        space = {"space": options.repo, "url": options.url, "state": self.state}
        runtime = {"hardware": options.hardware or None, "private": options.private}
        settings = {"secrets": list(options.secrets), "variables": dict(options.variables)}
        return {**space, **runtime, **settings, "files": files, "notes": list(self.notes)}


def plan(files: Mapping[str, File], options: PushOptions, hardware: str, dry_run: bool = False) -> Plan:
    """Compare files with those on the Hub. Changes nothing.

    Args:
        files: the files that the Space should have, by path.
        options: the Space and its settings.
        hardware: the hardware of a new Space, unless the options name one.
        dry_run: return a plan of unknown state if the Hub cannot be queried, instead of raising.

    Raises:
        LineupError: the Space is public and should be private, holds another app, or, unless `dry_run`, cannot be
            queried.
    """
    new = replace(options, hardware=options.hardware or hardware)
    try:
        info, manifest = _fetch(options)
    except HubRequestError as error:
        if not dry_run:
            raise
        return Plan(new, f"unknown: {error.got}", "", files, dict.fromkeys(files, "push"))
    if info is None:
        return Plan(new, "new", "", files, dict.fromkeys(files, "new"))
    remote = {file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id) for file in info.siblings or []}
    if not manifest and is_another_app(remote):
        raise LineupError(
            options.repo, "an unused name, or a Space with Lineup", "it has another app", "choose another name"
        )
    if options.private and info.private is False:
        raise LineupError(options.repo, "a private Space", "it is public", f"make it private at {options.url}/settings")
    changes, notes = dict[str, str](), list[str]()
    for path, file in files.items():
        changes[path] = "new" if path not in remote else "same" if remote[path] in file.oids else "changed"
        if changes[path] == "changed" and path in manifest and remote[path] not in manifest[path]:
            notes.append(f"{path} was edited on the Space since the last push: this push overwrites it")
    for path in sorted(manifest.keys() & remote.keys() - files.keys()):
        if remote[path] in manifest[path]:
            changes[path] = "deleted"
        else:
            notes.append(f"{path} was edited on the Space since the last push: it is obsolete, but not deleted")
    return Plan(options, "exists", info.sha or "", files, changes, tuple(notes))


def is_another_app(paths: Iterable[str]) -> bool:
    """Return whether the files belong to another app; the two that the Hub creates belong to none."""
    files = set(paths) - {".gitattributes", "README.md"}
    return bool(files) and "lineup/__main__.py" not in files


def _fetch(options: PushOptions) -> tuple[SpaceInfo | None, Mapping[str, Sequence[str]]]:
    """Return the info of the Space, None if it does not exist, and the manifest of the last push."""
    api = HfApi()
    with hub_errors(options.repo, "to read the Space"):
        try:
            info = api.space_info(options.repo, files_metadata=True, timeout=ASK_TIMEOUT_S)
        except RepositoryNotFoundError:
            return None, {}
        if MANIFEST not in (file.rfilename for file in info.siblings or []):
            return info, {}
        path = api.hf_hub_download(
            options.repo, MANIFEST, repo_type="space", revision=info.sha, etag_timeout=ASK_TIMEOUT_S
        )
    try:
        manifest = json.loads(Path(path).read_text(encoding="utf-8"))
        return info, {str(name): list(map(str, oids)) for name, oids in manifest.items()}
    except (ValueError, AttributeError, TypeError):
        return info, {}  # edited by hand and invalid: delete nothing


def push(plan: Plan, progress: Callable[[str], None]) -> str:
    """Execute a plan, and return the commit. An interrupted push is completed by pushing again.

    Args:
        plan: the plan to execute.
        progress: called with a message after every step.
    """
    api, options, head = HfApi(), plan.options, plan.head
    get_session().timeout = ANSWER_TIMEOUT_S
    if plan.state == "new":
        with hub_errors(options.repo, f"to create the Space on {options.hardware}", options.hardware):
            settings: dict[str, Any] = {"private": options.private or None, "space_hardware": options.hardware}
            api.create_repo(options.repo, repo_type="space", space_sdk="gradio", **settings)
        progress(f"created {options.url} on {options.hardware}")
    with hub_errors(options.repo, "to set the Space's hardware, secrets and variables", options.hardware):
        _apply_settings(api, plan, progress)
    if plan.nothing_changes:
        progress("nothing changed: no commit")
        return head
    operations = [
        CommitOperationDelete(path) if change == "deleted" else CommitOperationAdd(path, plan.files[path].content)
        for path, change in plan.changes.items()
        if change != "same"
    ]
    with hub_errors(options.repo, f"to commit {len(operations)} files"):
        message = "Push with python -m lineup push"
        commit = api.create_commit(
            options.repo, operations, commit_message=message, repo_type="space", parent_commit=head or None
        )
    progress(f"committed {commit.oid[:8]}: {options.url}/commit/{commit.oid}")
    return str(commit.oid)


def _apply_settings(api: HfApi, plan: Plan, progress: Callable[[str], None]) -> None:
    options = plan.options
    if options.hardware and plan.state == "exists":
        runtime = api.get_space_runtime(options.repo)
        if options.hardware != (runtime.requested_hardware or runtime.hardware):
            api.request_space_hardware(options.repo, options.hardware)  # type: ignore[arg-type]
            progress(f"requested {options.hardware}")
    current = api.get_space_variables(options.repo) if options.variables else {}
    for key, value in options.variables.items():
        if key not in current or current[key].value != value:
            api.add_space_variable(options.repo, key, value)
            progress(f"set the variable {key}")
    for key, value in options.secrets.items():  # set unconditionally: secrets cannot be read
        api.add_space_secret(options.repo, key, value)
        progress(f"set the secret {key}")


def wait(options: PushOptions, commit: str, progress: Callable[[str], None]) -> str:
    """Wait until the Space is built, and return its stage.

    Raises:
        LineupError: the build or the start failed (with the relevant lines of the log) or timed out.
    """
    api, started, stage = HfApi(), time.monotonic(), ""
    with hub_errors(options.repo, "to see the Space's build"):
        while True:
            runtime, waited_s = api.get_space_runtime(options.repo), time.monotonic() - started
            is_current = runtime.raw.get("sha") in (None, commit) or waited_s > SETTLE_S
            if is_current and runtime.stage not in _BUILDING:
                break
            if waited_s > BUILD_TIMEOUT_S:
                raise LineupError(
                    options.repo,
                    f"a running Space after {BUILD_TIMEOUT_S / 60:.0f} minutes",
                    f"it is {runtime.stage}",
                    f"see {options.url}?logs=build, or push again to keep waiting",
                )
            if runtime.stage != stage:
                stage = runtime.stage
                progress(f"{stage.lower().replace('_', ' ')} …")
            time.sleep(POLL_S)
        if runtime.stage not in _BROKEN:
            return str(runtime.stage)
        is_build = _BROKEN[runtime.stage]
        lines = _error_lines(api, options.repo, is_build)
    message = str(runtime.raw.get("errorMessage") or "").strip()
    raise LineupError(
        options.repo,
        "a running Space",
        f"it is {runtime.stage}{message and f' ({message})'}",
        "fix the error in the log, and push again; "
        f"the full log is at {options.url}?logs={'build' if is_build else 'container'}"
        + "".join(f"\n  {line}" for line in lines),
    )


def _error_lines(api: HfApi, repo: str, is_build: bool) -> list[str]:
    """Return the last lines of the log that look like errors, or else its last lines."""
    try:
        texts = list(api.fetch_space_logs(repo, build=is_build))
    except (HfHubHTTPError, httpx2.HTTPError):
        return []  # the error reports the stage in any case
    lines = [line.rstrip() for text in texts for line in text.splitlines() if line.strip()]
    pattern = re.compile(r"error|fail|conflict|not found|no matching|denied", re.IGNORECASE)
    return (list(filter(pattern.search, lines)) or lines)[-LOG_LINES:]

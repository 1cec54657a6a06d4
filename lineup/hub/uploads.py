"""Write to the Hub: the only module that does.

Every function raises a `HubRequestError` that says what failed and how to fix it. An interrupted upload is completed
by the next one: a commit is atomic, and large files that have arrived are not sent again.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    CommitScheduler,
    HfApi,
    constants,
    get_session,
)

from lineup.hub.problems import HubRequestError, hub_errors

ANSWER_TIMEOUT_S = 120.0  # the Hub's client has no timeout of its own

RepoType = Literal["space", "model", "dataset"]


def create_space(repo: str, hardware: str, private: bool) -> None:
    """Create a Gradio Space; a name that is taken is an error.

    Args:
        repo: owner/name.
        hardware: the Hub's name of it, such as zero-a10g.
        private: hide it from others; otherwise the owner's setting decides.
    """
    with hub_errors(repo, f"to create the Space on {hardware}", hardware):
        _api().create_repo(
            repo,
            repo_type="space",
            space_sdk="gradio",
            private=private or None,
            space_hardware=hardware,  # type: ignore[arg-type]
        )


def create_repo(repo: str, repo_type: Literal["model", "dataset"], private: bool = True, command: str = "push") -> None:
    """Create a repository of a model or a data set, unless it exists.

    Args:
        repo: owner/name.
        repo_type: what the repository holds.
        private: hide it from others; ignored if it exists.
        command: the verb of the errors' remedies.
    """
    with hub_errors(repo, f"to create the {repo_type} repository", command=command):
        _api().create_repo(repo, repo_type=repo_type, private=private, exist_ok=True)


def publish_model(repo: str, files: Mapping[str, Path], message: str, private: bool) -> str:
    """Commit files to a model repository, which is created unless it exists, and return its address."""
    create_repo(repo, "model", private)
    commit(repo, "model", message, files)
    return f"{constants.ENDPOINT}/{repo}"


def apply_settings(
    repo: str, hardware: str, variables: Mapping[str, str], secrets: Mapping[str, str], progress: Callable[[str], None]
) -> None:
    """Request hardware, unless it is empty or current, and set the variables and secrets of a Space.

    Args:
        repo: owner/name of the Space.
        hardware: the hardware to request; empty to keep the current one.
        variables: values by name; those that are set already cause no write.
        secrets: values by name, written unconditionally, because they cannot be read.
        progress: called with a message after every write.
    """
    with hub_errors(repo, "to set the Space's hardware, secrets and variables", hardware):
        api = _api()
        if hardware:
            runtime = api.get_space_runtime(repo)
            if hardware != (runtime.requested_hardware or runtime.hardware):
                api.request_space_hardware(repo, hardware)  # type: ignore[arg-type]
                progress(f"requested {hardware}")
        current = api.get_space_variables(repo) if variables else {}
        for key, value in variables.items():
            if key not in current or current[key].value != value:
                api.add_space_variable(repo, key, value)
                progress(f"set the variable {key}")
        for key, value in secrets.items():
            api.add_space_secret(repo, key, value)
            progress(f"set the secret {key}")


def commit(
    repo: str,
    repo_type: RepoType,
    message: str,
    files: Mapping[str, bytes | Path] | Mapping[str, Path],
    deleted: Iterable[str] = (),
    parent: str = "",
    command: str = "push",
) -> str:
    """Add, replace and delete files in one commit, and return its id.

    Args:
        repo: owner/name.
        repo_type: what the repository holds.
        message: the commit message.
        files: contents, or local files, by path in the repository.
        deleted: paths of files to delete.
        parent: the commit that this one has to follow, so that nothing is overwritten unseen; empty for any.
        command: the verb of the errors' remedies.

    Raises:
        ConflictError: when another commit has followed the parent.
    """
    operations: list[CommitOperationAdd | CommitOperationDelete]
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    operations += [CommitOperationDelete(path) for path in deleted]
    with hub_errors(repo, f"to commit {len(operations)} files", command=command):
        done = _api().create_commit(
            repo, operations, commit_message=message, repo_type=repo_type, parent_commit=parent or None
        )
    return str(done.oid)


class PushClock(CommitScheduler):
    """Reports every few minutes that a push is due, and pushes when the interpreter ends, unless it was stopped.

    The base class would push all changes in one commit on a thread of its own, where a failure is only logged. Its
    constructor starts a daemon thread that waits, and that ends some time after `stop`.

    Args:
        due: called when a push is due, from the constructor on.
        push: called when the interpreter ends.
        settings: those of the base class.
    """

    def __init__(self, due: Callable[[], None], push: Callable[[], object], **settings: Any) -> None:
        self._due, self._push = due, push
        super().__init__(**settings)

    def trigger(self) -> "Future[None]":
        """Report that a push is due, instead of pushing."""
        self._due()
        done = Future[None]()
        done.set_result(None)
        return done

    def push_to_hub(self) -> None:
        """Push; the base class calls this when the interpreter ends."""
        self._push()


def start_clock(
    repo: str, folder: Path, private: bool, every_s: float, due: Callable[[], None], push: Callable[[], object]
) -> PushClock:
    """Create a data set unless it exists, and return a running clock for pushes of a folder to it.

    Raises:
        HubRequestError: when a request fails, or the data set is public although it should be private.
    """
    create_repo(repo, "dataset", private, command="try")
    with hub_errors(repo, "to read whether it is private", command="try"):
        is_public = not _api().dataset_info(repo).private
    if private and is_public:
        remedy = "make it private on its page, or set private: false if everyone may see what is pushed"
        raise HubRequestError(repo, "a private data set", "it is public", remedy)
    with hub_errors(repo, "to push to it", command="try"):
        return PushClock(
            due,
            push,
            repo_id=repo,
            repo_type="dataset",
            folder_path=folder,
            private=private,
            every=every_s / 60,
            hf_api=_api(),
        )


def _api() -> HfApi:
    get_session().timeout = ANSWER_TIMEOUT_S
    return HfApi()

"""Downloads the files of a data set on the Hub."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from huggingface_hub import HfApi, constants, get_session, hf_hub_url
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from lineup.errors import HubError, LineupError, UnreachableError, writing_errors
from lineup.hub import atomic_write, downloads
from lineup.hub.cache_folder import cache_folder
from lineup.hub.files import HubFile
from lineup.hub.problems import download_errors

_log = logging.getLogger(__name__)
_THREADS = 8  # small files wait for the server most of the time


@dataclass(frozen=True)
class Listing:
    """The files of a data set at one commit."""

    repo: str
    commit: str
    names: tuple[str, ...]


def list_files(repo: str, revision: str | None = None) -> Listing:
    """Return the files of a data set; those of the last time if the Hub cannot be reached.

    Raises:
        HubError: when the request fails, and the files were never listed.
    """
    key = hashlib.sha256(f"{constants.ENDPOINT} {repo} {revision}".encode()).hexdigest()[:32]
    path = cache_folder("datasets") / f"{key}.json"
    try:
        with download_errors(repo, downloads.server(HubFile(repo, ("",)))):
            info = HfApi().dataset_info(repo, revision=revision or "main", timeout=downloads.METADATA_TIMEOUT_S)
    except HubError as error:
        if path.is_file() and (isinstance(error, UnreachableError) or constants.HF_HUB_OFFLINE):
            data = json.loads(path.read_text(encoding="utf-8"))
            _log.warning("%s; using the files of commit %s", error, data["commit"][:8])
            return Listing(data["repo"], data["commit"], tuple(data["names"]))
        raise
    found = Listing(repo, info.sha or "", tuple(each.rfilename for each in info.siblings or ()))
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write.write_text(path, json.dumps(asdict(found)))
    return found


@dataclass(frozen=True)
class Head:
    """The files of a data set that others write to, with their sizes, at its newest commit."""

    repo: str
    commit: str
    sizes: dict[str, int]


def head(repo: str) -> Head | None:
    """Return the newest commit of a data set, or None if there is no such data set; it is never a cached one.

    Raises:
        HubError: when the request fails.
    """
    with download_errors(repo, downloads.server(HubFile(repo, ("",)))):
        try:
            info = HfApi().dataset_info(
                repo, revision="main", files_metadata=True, timeout=downloads.METADATA_TIMEOUT_S
            )
        except RepositoryNotFoundError:
            return None
    return Head(repo, info.sha or "", {each.rfilename: each.size or 0 for each in info.siblings or ()})


def server_time(repo: str, timeout_s: float) -> float | None:
    """Return the time by the Hub's clock, in seconds since 1970, to some seconds; None if the Hub does not tell it.

    Raises:
        HubError: when the request fails; a refusal has the time, too.
    """
    url = hf_hub_url(repo, ".gitattributes", repo_type="dataset")
    with download_errors(repo, downloads.server(HubFile(repo, ("",)))):
        date = get_session().head(url, headers=build_hf_headers(), timeout=timeout_s).headers.get("Date", "")
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def read(head: Head, name: str, timeout_s: float) -> bytes:
    """Return the content of a file, which is not cached: what is deleted later must not remain on this machine.

    Raises:
        HubError: when the request fails.
    """
    url = hf_hub_url(head.repo, name, repo_type="dataset", revision=head.commit)
    with download_errors(f"{head.repo}/{name}", downloads.server(HubFile(head.repo, ("",)))):
        response = get_session().get(url, headers=build_hf_headers(), timeout=timeout_s)
        hf_raise_for_status(response)
        return response.content


def fetch(listing: Listing, name: str, timeout_s: float) -> Path:
    """Return the local path of one file, after downloading it if it is not cached; raise HubError."""
    return downloads.fetch(HubFile(listing.repo, (name,), listing.commit, repo_type="dataset"), timeout_s)


def fetch_to(folder: Path, listing: Listing, names: Iterable[str], below: str, timeout_s: float) -> None:
    """Put files into a folder under their names relative to `below`; the Hub's cache keeps them, too.

    Raises:
        HubError: when one cannot be downloaded.
        LineupError: when one cannot be written.
    """

    def put(name: str) -> None:
        source, target = fetch(listing, name, timeout_s).resolve(), folder / name.removeprefix(below)
        if folder.resolve() not in target.resolve().parents:
            raise LineupError(listing.repo, "files inside the repository", f"got {name[:80]!r}", "report it there")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copyfile(source, target)

    failed = writing_errors(listing.repo, "a folder for its images", "free some space")
    with failed, ThreadPoolExecutor(_THREADS, "download") as threads:
        for done in [threads.submit(put, name) for name in names]:
            try:
                done.result()
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise

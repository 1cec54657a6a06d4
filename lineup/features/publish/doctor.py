"""Check whether downloads and a push would work from this machine. Changes nothing on the Hub.

The text of a check never contains the token.
"""

import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import quote, urlparse

from huggingface_hub import HfApi, SpaceInfo, constants, get_session, get_token, hf_raise_for_status
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, but not to type checkers

from lineup.config import Config
from lineup.errors import LineupError
from lineup.features.publish import card
from lineup.features.publish.files import MANIFEST
from lineup.features.publish.space import is_another_app
from lineup.hub import downloads
from lineup.hub.files import HubFile
from lineup.hub.problems import TOKENS, hub_errors

TIMEOUT_S = 5.0
NAMES = ("reach", "token", "download", "space", "write", "hardware", "uploads")
FALLBACK = "timm/resnet18.a1_in1k"  # a public repository, for a line-up without files on the Hub
FREE_HARDWARE = "zero-a10g"  # the only one on which a free account can host a Gradio Space
_NEW_TOKEN = f"create a token with write access at {TOKENS}, and set HF_TOKEN"
_ROLES = {"read": "is read-only", "write": "has write access", "fineGrained": "is fine-grained"}

Account = Mapping[str, Any]  # /api/whoami-v2 of a token's owner, or one of its organizations


@dataclass(frozen=True)
class Check:
    """The result of one check: its outcome, the finding, and a remedy if one is needed."""

    name: str
    outcome: Literal["ok", "failed", "skipped"]
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def sample(config: Config, weights: card.WeightsOf) -> HubFile:
    """Return a small file to download: of the first entry on the Hub, else of a public repository."""
    for files in card.files_of(config, weights):
        return HubFile(files.repo, ("config.json",), files.revision)
    return HubFile(FALLBACK, ("config.json",))


def examine(file: HubFile, hardware: str, space: str = "") -> Iterator[Check]:
    """Yield the checks of NAMES, each as soon as it is done and within a short timeout.

    Args:
        file: a small file to download.
        hardware: the hardware to request for a new Space.
        space: owner/name of the Space to push to; if empty, `lineup` of the token's owner.
    """
    reach = _reach()
    yield reach
    if reach.outcome == "failed":
        for name in NAMES[1:]:
            yield Check(name, "skipped", "the Hub cannot be reached")
        return
    token, account = _token()
    yield token
    yield _download(file)
    yield from _push(token, account, space or (f"{account['name']}/lineup" if account else ""), hardware)
    yield _uploads(file, account)


def _reach() -> Check:
    started = time.monotonic()
    try:
        with hub_errors(constants.ENDPOINT, "an answer", command="try"):
            # without the token: it is checked separately
            response = get_session().head(constants.ENDPOINT, timeout=TIMEOUT_S)
            if response.status_code >= 500:
                hf_raise_for_status(response)
    except LineupError as error:
        return _failed("reach", error, f"{constants.ENDPOINT}: ")
    return Check("reach", "ok", f"{constants.ENDPOINT} answers in {_ms(started)} ms")


def _token() -> tuple[Check, Account | None]:
    if not get_token():
        return Check("token", "skipped", "not set, and public files need none", f"to push, {_NEW_TOKEN}"), None
    session = get_session()
    before, session.timeout = session.timeout, TIMEOUT_S  # whoami takes no timeout
    try:
        with hub_errors("the token", "to read its owner", command="try"):
            account: Account = HfApi().whoami()
    except LineupError as error:
        return _failed("token", error), None
    finally:
        session.timeout = before
    role = _ROLES.get(_role(account), "its role is unknown")
    return Check("token", "ok", f"it belongs to {account['name']}, and {role}"), account


def _download(file: HubFile) -> Check:
    started = time.monotonic()
    try:
        with _empty_cache():
            path = downloads.fetch(file, TIMEOUT_S)
            size_bytes, etag = path.stat().st_size, path.resolve().name  # the cache names files by etag
    except LineupError as error:
        return _failed("download", error, f"{file}: ")
    is_verified = re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", etag)  # by fetch, if the etag is a hash
    verification = "hash verified" if is_verified else "no hash to verify"
    return Check("download", "ok", f"{file}: {size_bytes:,} bytes in {_ms(started)} ms, {verification}")


@contextmanager
def _empty_cache() -> Iterator[None]:
    """Make the Hub's client use a temporary cache, which is deleted on exit."""
    cache = constants.HF_HUB_CACHE
    with tempfile.TemporaryDirectory(prefix="lineup-", ignore_cleanup_errors=True) as folder:
        constants.HF_HUB_CACHE = folder
        try:
            yield
        finally:
            constants.HF_HUB_CACHE = cache


def _push(token: Check, account: Account | None, space: str, hardware: str) -> Iterator[Check]:
    """Yield the checks of a push: the Space, write access and the hardware."""
    names, reason = ("space", "write", "hardware"), ("the owner of the Space is unknown", "add OWNER/NAME")
    if token.outcome == "failed" or not space:
        reason = (token.found, "") if token.outcome == "failed" else reason
        yield from (Check(name, "skipped", *reason) for name in names)
        return
    check, info = _space(space, account)
    is_unknown = info is None and check.outcome == "failed"
    yield check
    yield _write(account, space, exists=info is not None or is_unknown)
    if is_unknown:
        yield Check("hardware", "skipped", "whether the Space exists is unknown")
        return
    yield _hardware(account, space.partition("/")[0], hardware, info)


def _space(space: str, account: Account | None) -> tuple[Check, SpaceInfo | None]:
    try:
        with hub_errors(space, "to read the Space", command="try"):
            info = HfApi().space_info(space, timeout=TIMEOUT_S)
    except LineupError as error:
        if not isinstance(error.__cause__, RepositoryNotFoundError):
            return _failed("space", error, f"{space}: "), None
        new = "it does not exist yet, and a push creates it"
        return Check("space", "ok", f"{space}: {new if account else 'it does not exist, or it is private'}"), None
    paths = {file.rfilename for file in info.siblings or []}
    if MANIFEST not in paths and is_another_app(paths):
        return Check("space", "failed", f"{space}: it has another app", "choose another name"), info
    return Check("space", "ok", f"{space}: it exists, and a push updates it"), info


def _write(account: Account | None, space: str, exists: bool) -> Check:
    if not account:
        return Check("write", "skipped", "there is no token", _NEW_TOKEN)
    owner_name, role, user = space.partition("/")[0], _role(account), account["name"]
    owner = _owner(account, owner_name)
    if role == "read":
        return Check("write", "failed", "the token is read-only", _NEW_TOKEN)
    if owner is None:
        remedy = f"use a token of {owner_name}, or push to {user}/{space.partition('/')[2]}"
        return Check("write", "failed", f"{user} is not a member of {owner_name}", remedy)
    if owner is not account and owner.get("roleInOrg") not in ("admin", "write", "contributor"):
        finding = f"{user}'s role in {owner_name} is {owner.get('roleInOrg') or 'unknown'}"
        remedy = f"ask an admin of {owner_name} for the role write, or push to {user}/…"
        return Check("write", "failed", finding, remedy)
    if role == "fineGrained" and not _is_permitted(account, owner_name, space if exists else ""):
        finding = f"the token has no write permission for {space if exists else owner_name}"
        return Check("write", "failed", finding, f"add the permission at {TOKENS}")
    if role not in ("write", "fineGrained"):
        return Check("write", "skipped", "the token's permissions are unknown", "try a push")
    if exists and owner.get("roleInOrg") == "contributor":
        return Check("write", "ok", f"{user} is a contributor of {owner_name}, with write access to their own Spaces")
    return Check("write", "ok", f"{user} may write to {owner_name}'s Spaces")


def _is_permitted(account: Account, *names: str) -> bool:
    """Return whether a fine-grained token may write to one of these names of owners or Spaces."""
    scopes = (account["auth"]["accessToken"].get("fineGrained") or {}).get("scoped") or []
    entities = {name.casefold() for name in names if name}
    return any(
        str(scope.get("entity", {}).get("name")).casefold() in entities
        and scope["entity"].get("type") not in ("model", "dataset")
        and "repo.write" in scope.get("permissions", ())
        for scope in scopes
    )


def _hardware(account: Account | None, owner_name: str, hardware: str, info: SpaceInfo | None) -> Check:
    if info:
        current = info.runtime and (info.runtime.requested_hardware or info.runtime.hardware)
        finding = f"{current or 'the current hardware'}, which a push without --hardware does not change"
        return Check("hardware", "ok", finding)
    owner = _owner(account, owner_name) if account else None
    if hardware == FREE_HARDWARE:
        return Check("hardware", "ok", f"{hardware}, the only one on which a free account can host a Gradio Space")
    if owner is None:
        return Check("hardware", "skipped", f"{hardware} needs a paid plan; whether {owner_name} has one is unknown")
    if owner.get("isPro") or owner.get("canPay"):
        return Check("hardware", "ok", f"{hardware}, which the plan of {owner_name} allows")
    remedy = f"write `hardware: {FREE_HARDWARE}` under `space:` in the config, or get a plan"
    return Check("hardware", "failed", f"{hardware} needs a paid plan, and {owner_name} has none", remedy)


def _uploads(file: HubFile, account: Account | None) -> Check:
    """Check the storage of large files. The Hub returns Xet's address for any readable repository."""
    if constants.HF_HUB_DISABLE_XET or not find_spec("hf_xet"):
        return Check(
            "uploads", "ok", "large files are uploaded with Git LFS, to an address that the Hub returns at that time"
        )
    address = f"{constants.ENDPOINT}/api/models/{file.repo}/xet-read-token/{quote(file.revision or 'main', safe='')}"
    try:
        with hub_errors(file.repo, "the address of its storage", command="try"):
            headers = build_hf_headers(token=None if account else False)
            response = get_session().get(address, headers=headers, timeout=TIMEOUT_S)
            hf_raise_for_status(response)
    except LineupError as error:
        return Check("uploads", "skipped", f"the storage of large files is unknown: {error.got}")
    storage = response.headers.get(constants.HUGGINGFACE_HEADER_X_XET_ENDPOINT, "")
    host = urlparse(storage).hostname
    if not host:
        return Check("uploads", "skipped", "the storage of large files is unknown: the Hub returned none")
    try:
        with hub_errors(host, "an answer", command="try"):
            get_session().head(storage, timeout=TIMEOUT_S)
    except LineupError:
        remedy = "allow connections to it, or set HF_HUB_DISABLE_XET=1"
        return Check(
            "uploads", "failed", f"large files are uploaded with Xet, to {host}, which cannot be reached", remedy
        )
    return Check("uploads", "ok", f"large files are uploaded with Xet, to {host}, which can be reached")


def _role(account: Account) -> str:
    return str(((account.get("auth") or {}).get("accessToken") or {}).get("role") or "")


def _owner(account: Account, name: str) -> Account | None:
    """Return the owner of that name: the account itself or one of its organizations, or None."""
    owners = [account, *(account.get("orgs") or [])]
    return next((owner for owner in owners if str(owner.get("name")).casefold() == name.casefold()), None)


def _failed(name: str, error: LineupError, prefix: str = "") -> Check:
    return Check(name, "failed", prefix + error.got, error.remedy)


def _ms(started: float) -> int:
    return round(1000 * (time.monotonic() - started))

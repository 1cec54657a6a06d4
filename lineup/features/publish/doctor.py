"""Tries the Hub from this machine, and says what a download and a push would meet. Changes nothing there.

Whatever the outcome, the text of a check never has the token in it.
"""

import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import quote, urlparse

from huggingface_hub import HfApi, SpaceInfo, constants, get_token
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils._headers import build_hf_headers  # huggingface_hub does not pass these on to type checkers
from huggingface_hub.utils._http import get_session, hf_raise_for_status
from huggingface_hub.utils._runtime import is_xet_available

from lineup.config import Config
from lineup.errors import LineupError
from lineup.features.publish import card
from lineup.features.publish.files import MANIFEST
from lineup.features.publish.space import is_another_app
from lineup.hub import downloads
from lineup.hub.files import HubFile
from lineup.hub.problems import TOKENS, told

TIMEOUT_S = 5.0
NAMES = ("reach", "token", "download", "space", "write", "hardware", "uploads")
FALLBACK = "timm/resnet18.a1_in1k"  # public, for a line-up that needs nothing of the Hub
FREE_HARDWARE = "zero-a10g"  # the only one on which a free account can host a Gradio Space
_NEW_TOKEN = f"make one that may write at {TOKENS}, and set HF_TOKEN to it"
_ROLES = {"read": "may only read", "write": "may write", "fineGrained": "is fine-grained"}

Account = Mapping[str, Any]  # what /api/whoami-v2 says of a token's owner, or of an organization in it


@dataclass(frozen=True)
class Check:
    """One thing that was tried: what came of it, what was found, and what to do if that is not enough."""

    name: str
    outcome: Literal["ok", "failed", "skipped"]
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def sample(config: Config, weights: card.WeightsOf) -> HubFile:
    """Choose a small file to try: the first entry's that lies on the Hub, else one that is always there."""
    for each in card.files_of(config, weights):
        return HubFile(each.repo, ("config.json",), each.revision)
    return HubFile(FALLBACK, ("config.json",))


def examine(file: HubFile, hardware: str, space: str = "") -> Iterator[Check]:
    """Yield the checks of NAMES one by one, as soon as each is done; none waits for long.

    Args:
        file: a small file to download.
        hardware: what a new Space would ask for.
        space: owner/name of the Space that a push would go to; if empty, `lineup` of whoever's the token is.
    """
    reach = _reach()
    yield reach
    if reach.outcome == "failed":
        for name in NAMES[1:]:
            yield Check(name, "skipped", "the Hub cannot be reached")
        return
    token, me = _token()
    yield token
    yield _download(file)
    yield from _push(token, me, space or (f"{me['name']}/lineup" if me else ""), hardware)
    yield _uploads(file, me)


def _reach() -> Check:
    started = time.monotonic()
    try:
        with told(constants.ENDPOINT, "an answer", command="try"):
            # no token: whether that is a good one is another question
            response = get_session().head(constants.ENDPOINT, timeout=TIMEOUT_S)
            if response.status_code >= 500:
                hf_raise_for_status(response)
    except LineupError as error:
        return _failed("reach", error, f"{constants.ENDPOINT}: ")
    return Check("reach", "ok", f"{constants.ENDPOINT} answers in {_ms(started)} ms")


def _token() -> tuple[Check, Account | None]:
    if not get_token():
        return Check("token", "skipped", "there is none, and public files need none", f"to push, {_NEW_TOKEN}"), None
    session = get_session()
    before, session.timeout = session.timeout, TIMEOUT_S  # whoami itself takes none
    try:
        with told("the token", "to ask whose it is", command="try"):
            me: Account = HfApi().whoami()
    except LineupError as error:
        return _failed("token", error), None
    finally:
        session.timeout = before
    return Check("token", "ok", f"it is {me['name']}'s, and {_ROLES.get(_role(me), 'the Hub does not say more')}"), me


def _download(file: HubFile) -> Check:
    started = time.monotonic()
    try:
        with _empty_cache():
            path = downloads.fetch(file, TIMEOUT_S)
            size_bytes, etag = path.stat().st_size, path.resolve().name  # the cache names what it keeps by its etag
    except LineupError as error:
        return _failed("download", error, f"{file}: ")
    compared = re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", etag)  # fetch has done it
    whole = "with the hash that the Hub says" if compared else "with no hash to compare it with"
    return Check("download", "ok", f"{file}: {size_bytes:,} bytes in {_ms(started)} ms, {whole}")


@contextmanager
def _empty_cache() -> Iterator[None]:
    """Let the Hub's client keep nothing that it downloads, and find nothing that it has kept."""
    cache = constants.HF_HUB_CACHE
    with tempfile.TemporaryDirectory(prefix="lineup-", ignore_cleanup_errors=True) as folder:
        constants.HF_HUB_CACHE = folder
        try:
            yield
        finally:
            constants.HF_HUB_CACHE = cache


def _push(token: Check, me: Account | None, space: str, hardware: str) -> Iterator[Check]:
    """Yield what a push would meet: the Space that is there or not, the right to write, and the hardware."""
    names, why = ("space", "write", "hardware"), ("whose Space it would be is not known", "add OWNER/NAME")
    if token.outcome == "failed" or not space:
        why = (token.found, "") if token.outcome == "failed" else why
        yield from (Check(name, "skipped", *why) for name in names)
        return
    check, info = _space(space, me)
    unknown = info is None and check.outcome == "failed"
    yield check
    yield _write(me, space, exists=info is not None or unknown)
    if unknown:
        yield Check("hardware", "skipped", "whether the Space is there is not known")
        return
    yield _hardware(me, space.partition("/")[0], hardware, info)


def _space(space: str, me: Account | None) -> tuple[Check, SpaceInfo | None]:
    try:
        with told(space, "to look at the Space", command="try"):
            info = HfApi().space_info(space, timeout=TIMEOUT_S)
    except LineupError as error:
        if not isinstance(error.__cause__, RepositoryNotFoundError):
            return _failed("space", error, f"{space}: "), None
        new = "it is not there yet, and a push creates it"
        return Check("space", "ok", f"{space}: {new if me else 'it is not there yet, or it is private'}"), None
    paths = {each.rfilename for each in info.siblings or []}
    if MANIFEST not in paths and is_another_app(paths):
        return Check("space", "failed", f"{space}: it is another app's", "choose another name"), info
    return Check("space", "ok", f"{space}: it is there, and a push brings it up to date"), info


def _write(me: Account | None, space: str, exists: bool) -> Check:
    if not me:
        return Check("write", "skipped", "there is no token", _NEW_TOKEN)
    owner, role = space.partition("/")[0], _role(me)
    account = _account(me, owner)
    if role == "read":
        return Check("write", "failed", "the token may only read", _NEW_TOKEN)
    if account is None:
        other = f"use a token of {owner}'s, or push to {me['name']}/{space.partition('/')[2]}"
        return Check("write", "failed", f"{me['name']} is not a member of {owner}", other)
    if account is not me and account.get("roleInOrg") not in ("admin", "write", "contributor"):
        found = f"{me['name']}'s role in {owner} is {account.get('roleInOrg') or 'not told'}"
        return Check("write", "failed", found, f"ask an admin of {owner} for the role write, or push to {me['name']}/…")
    if role == "fineGrained" and not _permitted(me, owner, space if exists else ""):
        found = f"the token's permissions leave out writing to {space if exists else owner}"
        return Check("write", "failed", found, f"add that one to it at {TOKENS}")
    if role not in ("write", "fineGrained"):
        return Check("write", "skipped", "the Hub does not say what this token may do", "push, and see")
    if exists and account.get("roleInOrg") == "contributor":
        return Check("write", "ok", f"{me['name']} contributes to {owner}, and may write to what they created there")
    return Check("write", "ok", f"{me['name']} may write to {owner}'s Spaces")


def _permitted(me: Account, *names: str) -> bool:
    """Tell whether a fine-grained token may write to one of these: an owner, or a Space."""
    scopes = (me["auth"]["accessToken"].get("fineGrained") or {}).get("scoped") or []
    wanted = {name.casefold() for name in names if name}
    return any(
        str(scope.get("entity", {}).get("name")).casefold() in wanted
        and scope["entity"].get("type") not in ("model", "dataset")
        and "repo.write" in scope.get("permissions", ())
        for scope in scopes
    )


def _hardware(me: Account | None, owner: str, hardware: str, info: SpaceInfo | None) -> Check:
    if info:
        has = info.runtime and (info.runtime.requested_hardware or info.runtime.hardware)
        return Check(
            "hardware", "ok", f"{has or 'what the Space has'}, which a push without --hardware leaves as it is"
        )
    account = _account(me, owner) if me else None
    if hardware == FREE_HARDWARE:
        return Check("hardware", "ok", f"{hardware}, the only one on which a free account can host a Gradio Space")
    if account is None:
        return Check("hardware", "skipped", f"{hardware} needs a paid plan; whether {owner} has one is not known")
    if account.get("isPro") or account.get("canPay"):
        return Check("hardware", "ok", f"{hardware}, which {owner} can pay for")
    remedy = f"write `hardware: {FREE_HARDWARE}` under `space:` in the config, or get a plan"
    return Check("hardware", "failed", f"{hardware} needs a paid plan, and {owner} has none", remedy)


def _uploads(file: HubFile, me: Account | None) -> Check:
    """Say where large files go. The Hub names Xet's storage to whoever may read a repository, a Space or not."""
    if not is_xet_available():
        return Check("uploads", "ok", "large files go through Git LFS, to an address that the Hub names then")
    address = f"{constants.ENDPOINT}/api/models/{file.repo}/xet-read-token/{quote(file.revision or 'main', safe='')}"
    try:
        with told(file.repo, "the address of its storage", command="try"):
            headers = build_hf_headers(token=None if me else False)
            response = get_session().get(address, headers=headers, timeout=TIMEOUT_S)
            hf_raise_for_status(response)
    except LineupError as error:
        return Check("uploads", "skipped", f"where large files go is not known: {error.got}")
    storage = response.headers.get(constants.HUGGINGFACE_HEADER_X_XET_ENDPOINT, "")
    host = urlparse(storage).hostname
    if not host:
        return Check("uploads", "skipped", "where large files go is not known: the Hub names no storage")
    try:
        with told(host, "an answer", command="try"):
            get_session().head(storage, timeout=TIMEOUT_S)
    except LineupError:
        remedy = "let this machine reach it, or set HF_HUB_DISABLE_XET=1"
        return Check("uploads", "failed", f"large files go through Xet, to {host}, which cannot be reached", remedy)
    return Check("uploads", "ok", f"large files go through Xet, to {host}, which answers")


def _role(me: Account) -> str:
    return str(((me.get("auth") or {}).get("accessToken") or {}).get("role") or "")


def _account(me: Account, owner: str) -> Account | None:
    """Return what is known of an owner: whoever's the token is, or an organization that they are in."""
    accounts = [me, *(me.get("orgs") or [])]
    return next((each for each in accounts if str(each.get("name")).casefold() == owner.casefold()), None)


def _failed(name: str, error: LineupError, before: str = "") -> Check:
    return Check(name, "failed", before + error.got, error.remedy)


def _ms(started: float) -> int:
    return round(1000 * (time.monotonic() - started))

"""Reads the addresses of the Hub's pages, as copied from a browser."""

import re
from urllib.parse import unquote, urlsplit

HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_PAGES = ("tree", "blob", "resolve", "raw", "commit")  # of a repository, followed by a revision
_OTHERS = {"spaces": "a Space", "datasets": "a data set", "collections": "a collection", "papers": "a paper"}
# the files that a repository in timm's format is loaded from, and its model card
_OF_THE_MODEL = ("", "config.json", "model.safetensors", "pytorch_model.bin", "README.md")
A_REPOSITORY = "expected hf-hub:owner/repo or hf-hub:owner/repo@revision; got "


def parse_address(text: str) -> tuple[str, str | None]:
    """Return the repository and the revision of an address, or of a path such as ``owner/repo/tree/main``.

    Raises:
        ValueError: when it is not of a model on the Hub; the message says what to write instead.
    """
    url = urlsplit(text if "://" in text or not text.startswith(HOSTS) else f"https://{text}")
    if url.scheme and url.netloc.lower() not in HOSTS:
        raise ValueError(
            f"expected the address of a model on the Hub, https://huggingface.co/owner/repo; got {text!r}; download "
            "its weights, and write their architecture as `backbone`, and the file as `checkpoint`"
        )
    parts = [unquote(part) for part in url.path.split("/") if part]
    if parts and (kind := _OTHERS.get(parts[0])):
        raise ValueError(
            f"expected the address of a model; got {text!r}, that of {kind}; "
            "write hf-hub:owner/repo, with the name of the model's own repository"
        )
    match parts:
        case [owner, name]:
            revision = file = ""
        case [owner, name, page, revision, *rest] if page in _PAGES:
            if revision == "refs" and len(rest) > 1:  # refs/pr/1
                revision, rest = "/".join([revision, *rest[:2]]), rest[2:]
            file = "/".join(rest)
        case [owner, name, *_] if url.netloc:
            raise ValueError(f"expected the address of a model's main page; got {text!r}; write hf-hub:{owner}/{name}")
        case _ if url.netloc:
            raise ValueError(
                f"expected the address of a model, https://huggingface.co/owner/repo; got {text!r}; "
                "write hf-hub:owner/repo"
            )
        case _:
            raise ValueError(f"{A_REPOSITORY}{'hf-hub:' + text!r}")
    name, _, at = name.partition("@")
    name = name.removesuffix(".git")
    if not all(re.fullmatch(r"[\w.-]+", part) for part in (owner, name)):
        raise ValueError(f"{A_REPOSITORY}{text!r}")
    revision = revision or at
    if file not in _OF_THE_MODEL:
        suffix = "" if revision in ("", "main") else f"@{revision}"
        raise ValueError(
            f"expected a repository; got {text!r}, a path inside it; write hf-hub:{owner}/{name}{suffix}, whose "
            f"config.json and model.safetensors are loaded, or download {file} and write it as `checkpoint`"
        )
    return f"{owner}/{name}", None if revision in ("", "main") else revision

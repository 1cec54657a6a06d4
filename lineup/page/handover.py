"""Passes an image from one page to another, by an id in the address.

Components of two pages share no state. The id is valid only together with the owner's token, which the browser keeps
in its local storage: a link that is passed on shows no image of someone else's.
"""

import hmac
import secrets
from collections import OrderedDict
from pathlib import Path

import gradio as gr

from lineup.errors import ImageError
from lineup.page.image_field import resolve_upload

MAX_IMAGES = 2000  # LRU eviction
_SECRET = secrets.token_hex(8)  # encrypts the token in the browser


class Handover:
    """Maps ids to uploaded images and their owners. Methods are called on the event loop."""

    def __init__(self) -> None:
        self._images: OrderedDict[str, tuple[str, Path]] = OrderedDict()

    def give(self, owner: str, image: Path) -> str:
        """Return an id for an uploaded image; `owner` is the token of the browser that uploaded it."""
        image_id = secrets.token_urlsafe(16)
        self._images[image_id] = owner, image
        if len(self._images) > MAX_IMAGES:
            self._images.popitem(last=False)
        return image_id

    def take(self, owner: str, image_id: str) -> Path:
        """Return the image of an id, which stays valid.

        Raises:
            ImageError: when there is no such id, it has another owner, or the upload has been removed.
        """
        known_owner, image = self._images.get(image_id, ("", Path()))
        # the same error in both cases, and the same time: neither tells whether an id exists
        if not (owner and hmac.compare_digest(known_owner.encode(), owner.encode())):
            raise ImageError("image", "an image of this browser", "this link has none", "upload the image again")
        self._images.move_to_end(image_id)
        return resolve_upload(str(image))


def new_owner() -> str:
    """Return a token for a browser that has none."""
    return secrets.token_urlsafe(16)


def owner_state() -> gr.BrowserState:
    """Create the component that keeps the browser's token for all pages; empty until a page has set it."""
    return gr.BrowserState("", storage_key="lineup-owner", secret=_SECRET)

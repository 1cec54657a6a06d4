"""An image in memory, which is read as a file is."""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ImageBytes:
    """The content of an image file.

    Attributes:
        content: the bytes of the file.
        name: what error messages call it.
    """

    content: bytes = field(repr=False)
    name: str = "image"


ImageSource = str | os.PathLike[str] | ImageBytes  # the path of a file, or its content


def name_of(image: ImageSource) -> str:
    """Return what error messages call an image."""
    return image.name if isinstance(image, ImageBytes) else Path(image).name


def size_of(image: ImageSource) -> int:
    """Return the number of bytes of an image file.

    Raises:
        OSError: when there is no such file.
    """
    return len(image.content) if isinstance(image, ImageBytes) else Path(image).stat().st_size

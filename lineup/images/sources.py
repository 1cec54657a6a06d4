"""What can be evaluated: a folder, a zip file, or a data set on the Hub."""

import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path

from lineup.config import Limits
from lineup.errors import LineupError
from lineup.images import archive, image_set
from lineup.images.image_set import ImageSet


def open_source(source: str, stack: ExitStack, limits: Limits) -> ImageSet:
    """Return the images of a source; what is unpacked for it is deleted when the stack is closed.

    Raises:
        LineupError: when it cannot be read, or has no image.
    """
    if (unpacked := unpack(source, stack, limits)) is None:
        return image_set.collect(Path(source).expanduser())
    return image_set.collect(*unpacked)


def unpack(source: str, stack: ExitStack, limits: Limits) -> tuple[Path, str] | None:
    """Unpack a zip file, or download a data set of the Hub, to a folder until the stack is closed.

    Returns:
        The folder, and a name for it; None if the source is a folder itself.

    Raises:
        LineupError: when that fails, or it is another file.
    """
    path = Path(source).expanduser()
    is_zip = path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path))
    if path.is_file() and not is_zip:
        expected = "a folder, a zip file, or hf://datasets/OWNER/NAME"
        raise LineupError(source, expected, "it is another file", "unpack it, or write the folder of the images")
    if not is_zip and "://" not in source:
        return None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lineup-")))
    if is_zip:
        archive.unpack(path, folder)
        return folder, path.stem
    from lineup.images import hub_dataset  # imports the Hub's client

    return folder, hub_dataset.download(source, folder, limits.hub_timeout_s)

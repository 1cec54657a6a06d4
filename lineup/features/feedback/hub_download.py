"""Downloads the images of a data set of feedback that are missing in the collection."""

import hashlib
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lineup.errors import writing_errors
from lineup.features.feedback import accepted, exchanged_lines, image_files, records
from lineup.features.feedback.remote import MAX_IMAGE_BYTES, Remote, image_parts
from lineup.images import labelled_folder

_log = logging.getLogger(__name__)

MAX_DOWNLOADS = 500  # at a time
_THREADS = 8  # small files wait for the server most of the time


def download(root: Path, remote: Remote, left_out: set[str], now_s: float) -> bool:
    """Download some images that are missing here, unreviewed ones first, and return whether there are more of them.

    Args:
        root: the collection's folder.
        remote: the data set.
        left_out: paths of images that are not to be downloaded; those that are not what their names say are added.
        now_s: the time; one that a wrong clock has put after it counts as this.

    Raises:
        HubError: when an image cannot be downloaded.
        LineupError: when it cannot be written.
    """
    reviews = root / records.REVIEWS
    n_bytes = reviews.stat().st_size if reviews.is_file() else 0
    targets = exchanged_lines.targets(exchanged_lines.lines_of(reviews))
    missing = [name for name in sorted(remote.names, reverse=True) if _is_missing(root, remote, name, targets)]
    missing = [name for name in missing if name not in left_out]
    names, first_answers = missing[:MAX_DOWNLOADS], _first_answers(root)
    labels = remote.labels(names)
    with ThreadPoolExecutor(_THREADS, "download") as threads:
        bodies = dict(zip(names, threads.map(remote.read, names), strict=True))
    with accepted.locked(root), writing_errors(str(root), "a folder", "check it and the disk"):
        since = exchanged_lines.lines_of(reviews, n_bytes)  # the owner went on in the meantime
        decided, present = (
            {id_ for id_, *_ in exchanged_lines.decisions(since)},
            image_files.by_id(root / records.ACCEPTED),
        )
        for name, body in bodies.items():
            kind, folder, id_ = image_parts(name) or ("", "", "")
            if id_ in decided or (root / name).exists():
                continue
            label = labels.get(f"{kind}/{folder}") or labelled_folder.label_of(root / kind / folder)
            if hashlib.sha256(body).hexdigest()[:16] != id_ or labelled_folder.folder_name(label) != folder:
                _log.warning("%s: %s is left out: it is not what its name says", remote.repo, name)
                left_out.add(name)
            elif kind == records.ACCEPTED:
                accepted.put(root, id_, label, body, present)
            else:
                path = image_files.write(root / kind, label, body, id_)
                if time_s := first_answers.get(id_):
                    os.utime(path, (min(time_s, now_s),) * 2)
        if any(name.startswith(f"{records.ACCEPTED}/") for name in bodies):
            accepted.write_metadata(root / records.ACCEPTED)
    return len(missing) > len(names)


def _is_missing(root: Path, remote: Remote, name: str, targets: Mapping[str, str]) -> bool:
    if not (parts := image_parts(name)) or remote.sizes.get(name, 0) > MAX_IMAGE_BYTES:
        return False
    is_former = parts[0] == records.ACCEPTED and targets.get(parts[2], name) != name  # with a label since changed
    return name in remote.sizes and not is_former and not (root / name).exists()


def _first_answers(root: Path) -> dict[str, float]:
    times = dict[str, float]()
    files = [*records.answers_files(root / records.UNREVIEWED), root / records.ANSWERS]
    for row in records.read_answers(files):  # in the order of their times
        times.setdefault(row.image, exchanged_lines.seconds(row.time))
    return times

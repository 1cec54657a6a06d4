"""The options of a command that computes the images of a folder on a Ray cluster."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # keep `--help` fast
    from lineup.images.image_set import ImageSet
    from lineup.inference.cluster.folder_answers import Kind
    from lineup.inference.cluster.folders import ClusterFolder
    from lineup.service import Service


def add(command: argparse.ArgumentParser) -> None:
    """Add `--cluster` and `--answers`."""
    command.add_argument(
        "--cluster",
        metavar="ADDRESS",
        default="",
        help="compute on a Ray cluster: host:port, ray://host:port, or auto for one that runs here, or else a new one; "
        "the source may then be s3://BUCKET/FOLDER, or what else pyarrow and fsspec open",
    )
    command.add_argument(
        "--answers",
        metavar="FOLDER",
        default="",
        help="with --cluster, the folder or s3:// address of Parquet files with what is computed; a run begins with "
        "what is missing there (default: a folder in the cache)",
    )


def compute(
    service: "Service", arguments: argparse.Namespace, names: Sequence[str], kind: "Kind", stack: ExitStack
) -> "tuple[ImageSet, ClusterFolder] | None":
    """Compute the images of the source on the cluster, and return them with the outputs; None if it was interrupted.

    Raises:
        LineupError: when the source cannot be listed, the cluster fails, or no backbone can be computed.
    """
    from lineup.cli import job_progress
    from lineup.errors import LineupError
    from lineup.inference.cluster import folder_pass, folders

    split = getattr(arguments, "split", "")
    entries = [service.entry(service.known(name)) for name in names]
    listing, answers = folders.open_folder(arguments.source, split, arguments.answers, stack, service.config)
    folder = folders.ClusterFolder(service.config, entries, kind, listing, answers)
    print(f"answers are kept in {answers.address}", file=sys.stderr)
    with folder_pass.connected(arguments.cluster):
        if not job_progress.run(folder, "", "answers"):
            return None
    if folder.problem:
        raise LineupError("", "", folder.problem)
    return folder.images(), folder

"""What is told of each backbone in a comparison, and which of them no other beats."""

from typing import Any

from lineup.registry import published
from lineup.results import BackboneStatus, Classification, Timing


def row(status: BackboneStatus, timing: Timing | None, answer: object = None) -> dict[str, Any]:
    """Return a backbone's row: its answer, its speed here, and what is published of it; None where nothing is.

    Milliseconds are those of forward passes; published accuracies are in percent.
    """
    said = answer if isinstance(answer, Classification) else None
    first = said.predictions[0] if said else None
    return {
        "backbone": status.name,
        "label": first.label if first else None,
        "id": first.id if first else None,
        "probability": round(first.probability, 6) if first else None,
        "last_ms": round(timing.last_ms, 3) if timing else None,
        "median_ms": round(timing.median_ms, 3) if timing else None,
        "runs": timing.runs if timing else None,
        "parameters": status.parameters,
        "input_size": "{1} × {0}".format(*said.input_size) if said else None,
        **{key: status.facts.get(key) for key in published.FIGURES},
        "facts_note": status.facts_note or None,
        "license": status.license,
        "download_bytes": status.download_bytes,
        "error": str(answer) if isinstance(answer, Exception) else None,
    }

"""The fuller description of a backbone: all that another Lineup needs to use it as one of its own."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lineup.errors import ClassesOnlyError, LineupError
from lineup.features.rest import problems
from lineup.features.rest.problems import RequestError
from lineup.service import Service

if TYPE_CHECKING:
    from lineup.registry import Plan


@dataclass(frozen=True)
class Description:
    """A backbone's status, with its plan or why there is none.

    Attributes:
        status: what every client gets.
        plan: what decides its answers; None if it cannot be planned now.
        problem: why it is unavailable, as problem details.
    """

    status: Mapping[str, Any]
    plan: Mapping[str, Any] | None
    problem: Mapping[str, Any] | None = None

    @property
    def etag(self) -> str:
        """Identifies the plan; empty if there is none."""
        return f'"{hashlib.sha256(json.dumps(self.plan).encode()).hexdigest()[:32]}"' if self.plan else ""

    def to_json(self) -> dict[str, Any]:
        """Return it as the API does."""
        return {**self.status, "plan": self.plan, "problem": self.problem}


def described(service: Service, name: str) -> Description:
    """Return the description of a backbone, whose plan is made first if necessary."""
    plan = service.planned(name, offline=False)
    status = service.status(name)
    problem = status.problem and problems.details(status.problem)
    return Description(status.to_json(), _plan(plan) if plan else None, problem or None)


def require(service: Service, name: str, expected: str) -> None:
    """Check that a backbone is still the one that was described to a client.

    Raises:
        RequestError: when it is not.
    """
    plan = service.planned(name, offline=False)
    if plan and expected not in ("*", etag := Description({}, _plan(plan)).etag):
        error = LineupError("If-Match", f"the backbone {expected[:60]}", f"it is {etag} now", "ask for it again")
        raise RequestError(412, error)


def _plan(plan: "Plan") -> dict[str, Any]:
    transform = plan.transform
    try:
        embedding_dim = plan.embedding_dim if plan.embedding else None
    except ClassesOnlyError:
        embedding_dim = None
    return {
        "architecture": plan.architecture,
        "labels": [
            {"id": label.id, "name": label.name, "description": label.description} for label in plan.labels.labels
        ],
        "label_set": plan.labels.origin,
        "named": plan.labels.named,
        "activation": plan.activation,
        "num_outputs": plan.num_outputs,
        "transform": {
            "input_size": list(transform.input_size),
            "mean": list(transform.mean),
            "std": list(transform.std),
            "resizing": transform.resizing,
        },
        "license": plan.license,
        "notes": list(plan.notes),
        "figures": dict(plan.figures),
        "embedding_dim": embedding_dim,
        "is_normalized": bool(plan.embedding and plan.embedding.is_normalized),
    }

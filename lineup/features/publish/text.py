"""What the commands print, as lines of text."""

from collections import Counter
from typing import TYPE_CHECKING

from lineup.formatting import aligned, or_dash

if TYPE_CHECKING:
    from lineup.features.publish.doctor import Check
    from lineup.features.publish.space import Plan


def push(plan: "Plan") -> list[str]:
    told = plan.to_json()
    rows = [(each["change"], each["path"], or_dash((each["bytes"] or 0) / 1e3, "{:,.1f} kB")) for each in told["files"]]
    sizes = [each["bytes"] or 0 for each in told["files"]]
    kinds = Counter(change for change in plan.changes.values())
    asked = [f"{key}: {told[key]}" for key in ("hardware", "private") if told[key]]
    asked += [f"variable {name}={value}" for name, value in told["variables"].items()]
    asked += [f"secret {name}" for name in told["secrets"]]
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return [
        f"{plan.wish.url}: {plan.state}",
        *aligned(rows, "llr"),
        f"{len(plan.files)} files, {sum(sizes) / 1e6:.1f} MB: {counts}",
        *asked,
        *(f"note: {note}" for note in plan.notes),
    ]


def check(found: "Check") -> str:
    """Return one check's line, aligned with those that come before and after it."""
    return f"{found.outcome:<7}  {found.name:<8}  {'; '.join(filter(None, (found.found, found.remedy)))}"

"""Format the output of the publish commands as lines of text."""

from collections import Counter
from typing import TYPE_CHECKING

from lineup.formatting import aligned, or_dash

if TYPE_CHECKING:
    from lineup.features.publish.doctor import Check
    from lineup.features.publish.space import Plan


def push(plan: "Plan") -> list[str]:
    """Return a plan as a table of files, a summary, the settings and the notes."""
    fields = plan.to_json()
    files = fields["files"]
    rows = [(file["change"], file["path"], or_dash((file["bytes"] or 0) / 1e3, "{:,.1f} kB")) for file in files]
    total_bytes = sum(file["bytes"] or 0 for file in files)
    settings = [f"{key}: {fields[key]}" for key in ("hardware", "private") if fields[key]]
    settings += [f"variable {name}={value}" for name, value in fields["variables"].items()]
    settings += [f"secret {name}" for name in fields["secrets"]]
    counts = ", ".join(f"{count} {change}" for change, count in sorted(Counter(plan.changes.values()).items()))
    return [
        f"{plan.options.url}: {plan.state}",
        *aligned(rows, "llr"),
        f"{len(plan.files)} files, {total_bytes / 1e6:.1f} MB: {counts}",
        *settings,
        *(f"note: {note}" for note in plan.notes),
    ]


def check(check: "Check") -> str:
    """Return a check as one line in aligned columns."""
    return f"{check.outcome:<7}  {check.name:<8}  {'; '.join(filter(None, (check.found, check.remedy)))}"

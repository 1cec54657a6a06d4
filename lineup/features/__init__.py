"""The capabilities of the page and the command line: one folder each, and one line in FEATURES.

Nothing below imports a feature: app.py and __main__.py hand them over, as Starlette takes `routes=` and
`middleware=`. Each part is named as ``module:attribute`` and imported when it is needed.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    """What one capability brings; empty where it brings none.

    `panel` is a class with the methods of `lineup.page.panels.Panel`. `commands` is a function that adds
    subcommands: it takes argparse's subparsers and the parser of the options that all share. `notes` is a
    function of the service and the config's path that returns what `check` should mention.
    """

    name: str
    panel: str = ""
    commands: str = ""
    notes: str = ""


def by_name(features: Iterable[Feature]) -> dict[str, Feature]:
    """Return features by name.

    Raises:
        ValueError: when two have the same name.
    """
    found: dict[str, Feature] = {}
    for feature in features:
        if feature.name in found:
            raise ValueError(f"features: expected each name once; got {feature.name!r} again; rename one of the two")
        found[feature.name] = feature
    return found


FEATURES = by_name(
    [
        Feature("benchmark", panel="lineup.features.benchmark.panel:BenchmarkPanel"),
        Feature("snippets", panel="lineup.features.snippets.panel:SnippetsPanel"),
        Feature(
            "publish",
            commands="lineup.features.publish.commands:add",
            notes="lineup.features.publish.commands:stale_card",
        ),
    ]
)

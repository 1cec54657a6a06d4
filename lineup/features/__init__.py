"""Optional features of the page and the command line: one folder each, registered in FEATURES.

No lower layer imports a feature: app.py and __main__.py pass them in, as Starlette takes `routes=` and
`middleware=`. Each part is named as ``module:attribute`` and imported lazily.
"""

from dataclasses import dataclass

from lineup.errors import unique_names


@dataclass(frozen=True)
class Feature:
    """A feature and the names of its parts; an empty name means that it has no such part.

    Attributes:
        name: unique among the features.
        panel: a class that implements `lineup.page.panels.Panel`.
        answer_panel: the same, for a panel directly below the answers.
        commands: a function that adds subcommands, given argparse's subparsers and the parent parser with the
            shared options.
        notes: a function that returns notes for `check`, given the service and the config's path.
        pages: a function that adds pages with `Blocks.route`, given the Blocks, the service, the `Connections` that run
            its requests, and the `Handover` of images between pages.
        routes: a function that returns Starlette routes, given the service; they are served beside the page.
        background: a function that returns a context manager, given the service; it is entered when the page is served,
            and left when the server stops, for which it has a few seconds.
        warnings: a function that returns sentences, given the service: what the owner should know although the page
            works. ``/readyz`` shows them, at every request, so it must be fast.
        middleware: a function that returns Starlette middleware, given the service: it sees every request first, before
            Gradio's own.
    """

    name: str
    panel: str = ""
    answer_panel: str = ""
    commands: str = ""
    notes: str = ""
    pages: str = ""
    routes: str = ""
    background: str = ""
    warnings: str = ""
    middleware: str = ""


_FEATURES = [
    Feature(
        "evaluation",
        panel="lineup.features.evaluation.panel:LinkPanel",
        commands="lineup.features.evaluation.commands:add",
        pages="lineup.features.evaluation.panel:add",
        routes="lineup.features.evaluation.panel:routes",
    ),
    Feature(
        "feedback",
        answer_panel="lineup.features.feedback.panel:FeedbackPanel",
        commands="lineup.features.feedback.commands:add",
        routes="lineup.features.feedback.panel:routes",
        background="lineup.features.feedback.background:running",
        warnings="lineup.features.feedback.background:warnings",
    ),
    Feature(
        "training",
        panel="lineup.features.training.panel:LinkPanel",
        commands="lineup.features.training.commands:add",
        pages="lineup.features.training.panel:add",
        routes="lineup.features.training.panel:routes",
    ),
    Feature("rest", routes="lineup.features.rest.routes:routes", middleware="lineup.features.rest.guard:middleware"),
    Feature("benchmark", panel="lineup.features.benchmark.panel:BenchmarkPanel"),
    Feature("snippets", panel="lineup.features.snippets.panel:SnippetsPanel"),
    Feature(
        "cluster",
        commands="lineup.features.cluster.commands:add",
        routes="lineup.features.cluster.owner_page:routes",
        warnings="lineup.features.cluster.notices:warnings",
    ),
    Feature("publish", commands="lineup.features.publish.commands:add", notes="lineup.features.publish.commands:notes"),
]
FEATURES = unique_names("FEATURES", ((feature.name, feature) for feature in _FEATURES))

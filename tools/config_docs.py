"""Generates the config's JSON Schema, for editors, and the table of keys in the README.

`python -m tools.config_docs` rewrites both.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from lineup.config import Config, Entry, Example, Limits, Space
from lineup.config.sections import Cluster, Evaluation, Feedback, Replicas, Rest, Training
from lineup.engines.choice import ENGINES

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "config.schema.json"
README = ROOT / "README.md"
TABLE_HEADER = "| key | default | meaning |\n|---|---|---|\n"
PREFIXES: dict[str, type[BaseModel]] = {
    "": Config,
    "backbones[].": Entry,
    "examples[].": Example,
    "limits.": Limits,
    "evaluation.": Evaluation,
    "training.": Training,
    "feedback.": Feedback,
    "rest.": Rest,
    "cluster.": Cluster,
    "cluster.replicas.": Replicas,
    "space.": Space,
}


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # a title "Top K" adds nothing to the key top_k


def schema() -> dict[str, Any]:
    """Return the JSON Schema of config.yaml, including short forms.

    It covers keys, types and ranges; further constraints of `lineup.config`, such as unique names, are not
    expressible in it.
    """
    root = Config.model_json_schema(schema_generator=_Untitled)
    definitions = root["$defs"]
    definitions["Entry"]["properties"]["input_size"]["anyOf"].insert(
        0, {"type": "integer", "minimum": 16, "maximum": 4096}
    )
    for name in ("mean", "std"):
        one = {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 1}
        definitions["Entry"]["properties"][name]["anyOf"][:0] = [{"type": "number"}, one]
    root["properties"]["engine"]["enum"] = ["auto", *sorted(ENGINES)]
    for name in ("Entry", "Example"):
        definitions[name] = {"anyOf": [{"type": "string"}, definitions[name]]}
    return {"$schema": GenerateJsonSchema.schema_dialect, **root}


def table() -> str:
    """Return the rows of the README's table: key, default and description."""
    return "".join(
        f"| `{prefix}{key}` | {_default(field)} | {field.description} |\n"
        for prefix, model in PREFIXES.items()
        for key, field in model.model_fields.items()
    )


def files() -> Iterator[tuple[Path, str]]:
    """Yield each generated file and its up-to-date content."""
    yield SCHEMA, json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    readme = README.read_text(encoding="utf-8")
    yield README, re.sub(rf"(?<={re.escape(TABLE_HEADER)})(?:\|.*\n)*", lambda _: table(), readme)


def main() -> None:
    """Rewrite both files."""
    for path, text in files():
        path.write_text(text, encoding="utf-8")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value in (None, "", []) or isinstance(value, BaseModel):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    main()

"""The parameters of a request, wherever it has them: its query, the fields of a form, or JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from lineup.errors import LineupError, did_you_mean
from lineup.results import ScoreFunction

NAMES = ("top_k", "function_to_apply", "details", "backbones")
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class Parameters:
    """What a request asks for, as sent: the service validates `top_k` and `backbones`.

    Attributes:
        top_k: number of classes; None for the config's.
        scores: the function of the logits; None for the activation of the head.
        details: whether the fuller answer is asked for.
        backbones: names of the backbones to compare; None for those that are available.
        seen: takes the fingerprints of what has answered, where they are asked for.
    """

    top_k: Any = None
    scores: ScoreFunction | None = None
    details: bool = False
    backbones: Any = None
    seen: list[str] | None = None


def parse(texts: Iterable[tuple[str, str]], typed: Mapping[str, Any], allowed: Sequence[str]) -> Parameters:
    """Return the parameters of a request.

    Args:
        texts: those of the query and of a form, which may be repeated.
        typed: those of JSON, where null is the same as none.
        allowed: the names that the route has.

    Raises:
        LineupError: when a name is unknown, given twice, or has a value of another kind.
    """
    lists = dict[str, list[str]]()
    for name, text in texts:
        lists.setdefault(name, []).append(text)
    values: dict[str, Any] = {name: value for name, value in typed.items() if value is not None}
    for name in [*lists, *values]:
        if name not in allowed:
            remedy = did_you_mean(name, list(allowed)) or "leave it out"
            raise LineupError("parameters", f"one of {', '.join(allowed)}", f"got {name[:60]!r}", remedy)
    for name, several in lists.items():
        if name in values or (len(several) > 1 and name != "backbones"):
            raise LineupError(name, "one value", "got several", "send it once")
        values[name] = several if name == "backbones" else _value(name, several[0])
    details = values.get("details", False)
    if not isinstance(details, bool):
        raise LineupError("details", "true or false", f"got {repr(details)[:60]}", "send one of them, or none")
    return Parameters(values.get("top_k"), _scores(values), details, values.get("backbones"))


def _value(name: str, text: str) -> Any:
    if name == "top_k" and text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 20:
        return int(text)
    return _BOOLEANS.get(text.lower(), text) if name == "details" else text


def _scores(values: Mapping[str, Any]) -> ScoreFunction | None:
    name, names = values.get("function_to_apply"), get_args(ScoreFunction)
    if name is None:
        return None
    for known in names:
        if name == known:
            return known
    got = f"got {repr(name)[:60]}"
    raise LineupError("function_to_apply", f"one of {', '.join(names)}", got, "send one of them, or none")

"""The source `lineup`: a backbone of another Lineup, which answers by its HTTP API."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

import httpx2
import numpy as np

from lineup.config import Entry, Limits
from lineup.config.lineup_address import LineupAddress, parse_lineup
from lineup.errors import BackboneError, ClassesOnlyError, HubError
from lineup.registry import labels
from lineup.registry.labels import Label, LabelSet
from lineup.registry.lineup_client import LineupClient, may_have_key
from lineup.registry.plan import Context, Plan, Transform
from lineup.registry.remote import RemoteEmbedding, RemoteOutput
from lineup.results import StageTimings

if TYPE_CHECKING:
    from PIL import Image

FINGERPRINT = "lineup-fingerprint"  # the header of an answer
UNNAMED = "the classes of these weights have no names here, only numbers"  # the note of `postprocessing`
CONCURRENCY = 4  # images on their way: another Lineup computes one at a time, and prepares the next two meanwhile


def plan(entry: Entry, context: Context) -> Plan:
    """Plan a backbone of another Lineup from the description that it gives of it.

    Raises:
        BackboneError: when there is none, or it cannot run there.
        HubError: when the server does not respond, or its backbone cannot run now.
    """
    said = entry.model_dump(exclude_defaults=True).keys() - {"name", "backbone"}
    if said:
        got, remedy = f"got `{min(said)}`", "remove it here, and write it into the config there"
        raise BackboneError("", "no other keys beside a backbone of another Lineup", got, remedy)
    client = LineupClient(parse_lineup(entry.spec.target), context.limits)
    with context.reach(client.address.server):
        found = _described(client)
    return _plan(entry, context, client, found)


@dataclass(frozen=True)
class _Description:
    """What another Lineup says of a backbone; all that a plan needs is checked."""

    status: Mapping[str, Any]
    plan: Mapping[str, Any]
    etag: str


def _described(client: LineupClient) -> _Description:
    """Ask for the description of a backbone."""
    response: httpx2.Response = client.get()
    try:
        status = response.json()
        problem, described = status.get("problem"), status["plan"]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise client.broken("got no description of a backbone") from None
    if described is None:
        raise client.problem(problem)
    return _Description(status, described, response.headers.get("etag", ""))


def _plan(entry: Entry, context: Context, client: LineupClient, found: _Description) -> Plan:
    address, described, status = client.address, found.plan, found.status
    try:
        of_classes = _labels(described)
        transform = _transform(described, client)
        dim = described["embedding_dim"]
        result = Plan(
            name=entry.name,
            source=entry.source,
            architecture=_text(described["architecture"]),
            parameters=_number(status["parameters"]),
            labels=of_classes,
            transform=transform,
            weights=None,
            make=partial(_no_network, address),
            license=_text(status["license"] or ""),
            notes=(f"computed at {address.host}: images are sent there", *map(_text, described["notes"])),
            loading_notes=_loading_notes(address),
            figures={_text(name): float(value) for name, value in described["figures"].items()},
            figures_note=_text(status["figures_note"]),
            activation=_one_of(described["activation"], ("softmax", "sigmoid")),
            num_outputs=None if described["num_outputs"] is None else _number(described["num_outputs"]),
            embedding=None if dim is None else RemoteEmbedding(_number(dim), bool(described["is_normalized"])),
            described=f"{_text(status['summary'], 2000)}; computed at {address.host}",
        )
        if (result.num_outputs or result.num_classes) not in (1, result.num_classes) or not result.num_classes:
            raise ValueError("num_outputs")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise client.broken(f"its description of the backbone cannot be read ({error})") from None
    return _connected(result, context, client, found.etag)


def _connected(result: Plan, context: Context, client: LineupClient, etag: str) -> Plan:
    """Return a plan with its remote backbone, for classes or features."""
    if context.output == "features":
        if result.embedding is None:
            got = f"{client.address} gives only classes"
            raise ClassesOnlyError("", "a backbone that returns features", got)
        result = replace(result, output="features", labels=labels.numbered(0))
    return replace(result, remote=partial(_connect, client, result, etag, context.limits))


def _connect(client: LineupClient, planned: Plan, etag: str, limits: Callable[[], Limits]) -> "RemoteLineup":
    """Check that a server is there, and that its backbone is what it was when it was planned."""
    if _described(client).etag != etag:
        raise HubError(str(client.address), "the backbone as it was", "it has changed there", "try again")
    return RemoteLineup(client, planned, etag, limits)


@dataclass
class RemoteLineup:
    """A backbone of another Lineup. Thread-safe."""

    _client: LineupClient
    _plan: Plan
    _etag: str
    _limits: Callable[[], Limits]
    name: str = "lineup"
    hint: str = ""
    concurrency: int = CONCURRENCY
    _seen: tuple[str, float] = field(default=("", 0.0))  # the fingerprint of the last answer, and when it changed

    @property
    def fingerprint(self) -> str:
        """The fingerprint that answers have; empty while late ones of another engine may still arrive."""
        fingerprint, changed_at = self._seen
        return fingerprint if time.monotonic() - changed_at > self._limits().forward_timeout_s else ""

    @property
    def where(self) -> str:
        """The other Lineup's host."""
        return self._client.address.host

    def output(self, image: bytes, model_input: bool, cancelled: Callable[[], bool]) -> RemoteOutput:
        """Return what the other Lineup computes; it does not return the input of the network."""
        features, headers = self._plan.output == "features", {"If-Match": self._etag}
        query = f"?details=1&top_k={self._plan.num_classes}&function_to_apply=none"
        response = self._client.post("/embedding?details=1" if features else query, image, headers, cancelled)
        self._note_fingerprint(response.headers.get(FINGERPRINT, "")[:100])
        try:
            answer = response.json()
            return self._of_features(answer) if features else self._of_classes(answer)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
            raise self._client.broken("its answer cannot be read") from None

    def _of_classes(self, answer: Mapping[str, Any]) -> RemoteOutput:
        count, milliseconds = self._plan.num_classes, answer["milliseconds"]
        logits = np.full((1, count), np.nan, np.float32)  # what is missing is no finite number
        for prediction in answer["predictions"]:
            logits[0, _number(prediction["class_index"])] = prediction["probability"]
        if self._plan.output_dim < count:  # one output for two classes: the logit of the second
            logits = logits[:, 1:]
        timings = StageTimings(*(float(milliseconds[step]) for step in ("decode", "preprocess", "forward")))
        planned = {UNNAMED, *self._plan.notes}
        notes = tuple(note for note in map(_text, answer["notes"]) if note not in planned)
        return RemoteOutput(logits, _text(answer["engine"]), self._client.address.host, timings, notes)

    def _of_features(self, answer: Mapping[str, Any]) -> RemoteOutput:
        features, timings = np.array([answer["embedding"]], np.float32), StageTimings(0, 0, float(answer["forward_ms"]))
        return RemoteOutput(features, _text(answer["engine"]), self._client.address.host, timings)

    def _note_fingerprint(self, fingerprint: str) -> None:
        before, _ = self._seen
        if fingerprint != before:
            self._seen = fingerprint, time.monotonic() if before else -np.inf


def _labels(described: Mapping[str, Any]) -> LabelSet:
    found = tuple(
        Label(
            None if label["id"] is None else _text(label["id"]), _text(label["name"]), _text(label["description"], 2000)
        )
        for label in described["labels"]
    )
    return LabelSet(found, _text(described["label_set"]), bool(described["named"]))


def _transform(described: Mapping[str, Any], client: LineupClient) -> Transform:
    transform = described["transform"]
    height, width = (_number(side) for side in transform["input_size"])
    mean, std = (tuple(float(value) for value in transform[name]) for name in ("mean", "std"))
    if not len(mean) == len(std) > 0:
        raise ValueError("mean")
    steps: Callable[[Image.Image], Never] = partial(_no_network, client.address)
    return Transform(steps, (height, width), mean, std, resizing=_text(transform["resizing"]))


def _loading_notes(address: LineupAddress) -> tuple[str, ...]:
    if may_have_key(address.server):
        return ()
    return (
        f"images and answers travel to {address.host} unencrypted, and no key is sent: write https:// if it has it",
    )


def _no_network(address: LineupAddress, _: "Path | Image.Image | None") -> Never:
    expected, remedy = "a backbone whose network is in this process", "use a backbone that is computed here"
    raise BackboneError("", expected, f"{address.host} computes it", remedy)


def _text(value: object, max_chars: int = 500) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return value[:max_chars]


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 48:
        raise TypeError(f"{str(value)[:40]!r} is no number")
    return value


def _one_of(value: object, known: tuple[Any, ...]) -> Any:
    if value not in known:
        raise ValueError(f"{str(value)[:40]!r} is none of {', '.join(known)}")
    return value

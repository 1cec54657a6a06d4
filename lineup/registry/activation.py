"""The activation of a head: what turns its logits into probabilities."""

from dataclasses import replace

from lineup.config import Activation, Entry
from lineup.errors import BackboneError
from lineup.registry.plan import Plan

# The values of problem_type in a config.json, as the transformers library defines them.
_OF_PROBLEM_TYPE: dict[str, Activation] = {
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
}


def resolve(entry: Entry, num_outputs: int, problem_type: object = None) -> tuple[Activation, tuple[str, ...]]:
    """Return the activation of a head, and the loading notes that say what was inferred.

    It is that of the entry, else that of the `problem_type`, else sigmoid for one output and softmax for several.

    Args:
        entry: the entry of the config.
        num_outputs: the number of logits; 0 if the network returns features.
        problem_type: the value in the weights' config.json; None if it has none.

    Raises:
        BackboneError: the head is one for regression, the value is unknown, or a single output has a softmax.
    """
    if not num_outputs:
        return "softmax", ()
    activation, said = entry.activation, f"`activation: {entry.activation}`"
    if activation is None and problem_type is not None:
        activation, said = _of_problem_type(problem_type), f"`problem_type: {problem_type}` in config.json"
    if activation is None:
        note = "activation: sigmoid, since the head has one output: the probability of its class"
        return ("sigmoid", (note,)) if num_outputs == 1 else ("softmax", ())
    if activation == "softmax" and num_outputs == 1:
        raise BackboneError(
            "activation",
            "a softmax over two outputs or more",
            f"the head has one, and {said} would give each image 100%",
            "write `activation: sigmoid` in the entry",
        )
    of_weights = activation == "sigmoid" and not entry.activation
    return activation, ((f"activation: sigmoid, as {said} says",) if of_weights else ())


def activated(plan: Plan, entry: Entry, num_outputs: int, problem_type: object = None) -> Plan:
    """Return a plan with the activation of its head; see `resolve`.

    Raises:
        BackboneError: the outputs are no classes.
    """
    if plan.output == "features":
        return plan
    activation, notes = resolve(entry, num_outputs, problem_type)
    of_two_classes = num_outputs if num_outputs != plan.num_classes else None
    notes = (*plan.loading_notes, *notes)
    return replace(plan, activation=activation, num_outputs=of_two_classes, loading_notes=notes)


def _of_problem_type(problem_type: object) -> Activation:
    if problem_type == "regression":
        raise BackboneError(
            "problem_type",
            "a backbone that classifies",
            "config.json says regression: its outputs are numbers of another kind, not classes",
            "if they are logits of classes after all, write `activation: softmax` or `sigmoid` in the entry",
        )
    if not isinstance(problem_type, str) or problem_type not in _OF_PROBLEM_TYPE:
        raise BackboneError(
            "problem_type",
            f"one of {', '.join(_OF_PROBLEM_TYPE)}",
            f"config.json has {str(problem_type)[:60]!r}",
            "fix it, or write `activation: softmax` or `sigmoid` in the entry",
        )
    return _OF_PROBLEM_TYPE[problem_type]

"""Answers of backbones whose classes are independent of each other: any number of them may be true."""

from lineup.formatting import enumeration
from lineup.results import Classification

MAX_LISTED = 5  # classes in a sentence


def sentence(answer: Classification) -> str:
    """Return which classes are above 50%, or an empty string if the classes are exclusive."""
    if answer.above_half is None:
        return ""
    names = [prediction.label for prediction in answer.above_half]
    above = enumeration([*names[:MAX_LISTED], *([f"{rest} more"] if (rest := len(names) - MAX_LISTED) > 0 else [])])
    text = f"Above 50%: {above}." if above else "No class is above 50%."
    if len(answer.predictions) == 1:
        return text
    return f"{text} Each class has a probability of its own; together they are not 100%."

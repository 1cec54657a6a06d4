"""How often users corrected a backbone: of those answers alone that users chose to give."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lineup.analysis.statistics import Interval, wilson_interval


@dataclass(frozen=True)
class CorrectionRate:
    """The answers of one backbone that users judged.

    They are no sample of all answers: who clicks may have more reason to correct than to confirm.

    Attributes:
        backbone: its name.
        label: the class that it said; empty for all classes.
        n: the number of answers.
        n_corrected: those that were given another label.
        interval: of the proportion, Wilson's of 95%.
    """

    backbone: str
    label: str
    n: int
    n_corrected: int
    interval: Interval

    @property
    def share(self) -> float:
        return self.n_corrected / self.n


def correction_rates(answers: Iterable[tuple[str, str, bool]]) -> list[CorrectionRate]:
    """Return the rates of each backbone, and of each of its classes, those with most corrections first.

    Args:
        answers: of each the backbone, the class that it said, and whether it was corrected.
    """
    counts, corrected = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for backbone, label, is_corrected in answers:
        for key in {(backbone, ""), (backbone, label)}:
            counts[key] += 1
            corrected[key] += is_corrected
    rates = [CorrectionRate(*key, n, corrected[key], wilson_interval(corrected[key], n)) for key, n in counts.items()]
    return sorted(rates, key=lambda rate: (rate.backbone, rate.label != "", -rate.n_corrected, -rate.n, rate.label))

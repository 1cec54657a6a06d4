"""Calculates what a cluster needs for some answers a second: replicas, fronts, nodes, bytes and cost.

    python benchmarks/scaling.py                                                # for 10, 1,000 and 100,000 a second
    python benchmarks/scaling.py --price-per-core-hour 0.03 --ms-per-answer 80 --image-kb 400 --per-second 50
    python benchmarks/scaling.py --write                                        # the table in docs/scaling.md

Figures that are not given are those that benchmarks/CLUSTER.md has measured. Nothing is measured here.
"""

import argparse
import math
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

HERE = Path(__file__).parent
MEASURED, DOCUMENT = HERE / "CLUSTER.md", HERE.parent / "docs" / "scaling.md"
BEGIN, END = "<!-- python benchmarks/scaling.py --write -->", "<!-- end -->"
RATES = (10, 1_000, 100_000)
HOURS = 730  # of a month
GIGABIT_MB = 125  # in a second


@dataclass(frozen=True)
class Figures:
    """What one answer takes, as measured.

    Attributes:
        replica_ms: CPU milliseconds of a replica: decoding, transform and forward pass.
        front_ms: those of the process that is asked by HTTP, and `broker_ms`, of the one between it and the cluster.
        image_kb: the size of an image file, in 1,000 bytes.
        replica_mb: the memory of a replica.
    """

    replica_ms: float
    front_ms: float
    broker_ms: float
    image_kb: float
    replica_mb: float

    def as_line(self) -> str:
        """Return them as arguments of this script."""
        each = (f"{_option(name)} {getattr(self, name):g}" for name in _names())
        return f"`python benchmarks/scaling.py {' '.join(each)}`"


@dataclass(frozen=True)
class Assumed:
    """What nobody has measured: the reader sets it.

    Attributes:
        price_per_core_hour: of a core with its memory, in any currency.
        utilisation: the share of a core that is used on average: the rest answers what comes in bursts.
        cores_per_node: of the machines.
        cores_per_replica: how many each is given (`cluster.cpus`).
    """

    price_per_core_hour: float = 0.04
    utilisation: float = 0.7
    cores_per_node: int = 16
    cores_per_replica: int = 1


@dataclass(frozen=True)
class Need:
    """What so many answers a second need."""

    per_s: float
    replicas: int
    fronts: int
    cores: int
    nodes: int
    memory_gb: float
    mb_per_s: float
    per_month: float
    per_million: float


def front_per_s(figures: Figures, assumed: Assumed) -> float:
    """Return the answers a second of one front: it computes on one core, its broker on another one."""
    return assumed.utilisation * 1e3 / max(figures.front_ms, figures.broker_ms)


def need(per_s: float, figures: Figures, assumed: Assumed) -> Need:
    """Calculate what a rate needs; a cluster has at least one replica, one front, and a core for its head."""
    busy = per_s * figures.replica_ms / 1e3 / assumed.utilisation  # cores
    replicas = max(1, math.ceil(busy / assumed.cores_per_replica))
    fronts = max(1, math.ceil(per_s / front_per_s(figures, assumed)))
    cores = replicas * assumed.cores_per_replica + 2 * fronts + 1
    hourly = cores * assumed.price_per_core_hour
    return Need(
        per_s=per_s,
        replicas=replicas,
        fronts=fronts,
        cores=cores,
        nodes=math.ceil(cores / assumed.cores_per_node),
        memory_gb=replicas * figures.replica_mb / 1e3,
        mb_per_s=per_s * figures.image_kb / 1e3,
        per_month=hourly * HOURS,
        per_million=hourly / (per_s * 3600) * 1e6,
    )


def text(rates: tuple[float, ...], figures: Figures, assumed: Assumed) -> str:
    """Return a sentence on each figure, and the table."""
    front = front_per_s(figures, assumed)
    bytes_per_s = front * figures.image_kb / 1e3
    given = (
        f"Given: {figures.replica_ms:g} ms of CPU time in a replica for an answer, {figures.front_ms:g} ms in the "
        f"front and {figures.broker_ms:g} ms in its broker; images of {figures.image_kb:g} kB; "
        f"{figures.replica_mb:g} MB for a replica. Assumed: {assumed.utilisation:.0%} utilisation, nodes of "
        f"{assumed.cores_per_node} cores, {assumed.cores_per_replica} for a replica, "
        f"{assumed.price_per_core_hour:g} for a core-hour."
    )
    replica = assumed.utilisation * assumed.cores_per_replica * 1e3 / figures.replica_ms
    derived = (
        f"A replica then answers {replica:,.1f}/s, a front {front:,.0f}/s, for which it receives {bytes_per_s:,.1f} "
        f"MB/s and sends as much to replicas: {bytes_per_s / GIGABIT_MB:.0%} of a gigabit each."
    )
    rows = []
    for each in (need(rate, figures, assumed) for rate in rates):
        cells = [f"{each.per_s:,.0f}", f"{each.replicas:,}", f"{each.fronts:,}", f"{each.cores:,}", f"{each.nodes:,}"]
        cells += [f"{each.memory_gb:,.1f} GB", f"{each.mb_per_s:,.1f} MB/s", f"{each.per_month:,.0f}"]
        rows.append([*cells, f"{each.per_million:,.2f}"])
    head = ["answers/s", "replicas", "fronts", "cores", "nodes", "memory of replicas", "images in, and on to replicas"]
    head += ["a month", "a million answers"]
    lines = [head, ["---:"] * len(head), *rows]
    return "\n\n".join([given, derived, "\n".join(f"| {' | '.join(line)} |" for line in lines)])


def measured() -> Figures:
    """Return the figures of CLUSTER.md.

    Raises:
        SystemExit: when it has none.
    """
    content = MEASURED.read_text(encoding="utf-8") if MEASURED.exists() else ""
    found = {
        name: re.search(rf"`python benchmarks/scaling.py .*?{_option(name)} ([\d.]+)", content) for name in _names()
    }
    if missing := [_option(name) for name, match in found.items() if not match]:
        raise SystemExit(f"{MEASURED}: expected {', '.join(missing)}; not there; run python benchmarks/cluster.py")
    return Figures(**{name: float(match[1]) for name, match in found.items() if match})


def document(content: str, table: str) -> str:
    """Return a document with the table between its two comments."""
    before, _, rest = content.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def write() -> None:
    """Write the table of docs/scaling.md again."""
    table = text(RATES, measured(), Assumed())
    DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8"), table), encoding="utf-8")


def _names() -> list[str]:
    return [each.name for each in fields(Figures)]


def _option(name: str) -> str:
    return {"replica_ms": "--ms-per-answer"}.get(name) or f"--{name.replace('_', '-')}"


def main(arguments: list[str] | None = None) -> None:
    """Print the calculation, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in _names():
        parser.add_argument(_option(name), dest=name, type=_positive)
    for each in fields(Assumed):
        parser.add_argument(_option(each.name), type=int if each.type is int else _positive, default=each.default)
    parser.add_argument("--per-second", type=_positive, nargs="+", default=RATES, metavar="RATE")
    parser.add_argument(
        "--write", action="store_true", help="write the table of docs/scaling.md again, and print nothing"
    )
    given = vars(parser.parse_args(arguments))
    if given["write"]:
        return write()
    own = {name: given[name] for name in _names() if given[name] is not None}
    figures = Figures(**own) if len(own) == len(_names()) else replace(measured(), **own)
    print(
        text(tuple(given["per_second"]), figures, Assumed(**{each.name: given[each.name] for each in fields(Assumed)}))
    )
    return None


def _positive(value: str) -> float:
    number = float(value)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0; got {value}")
    return number


if __name__ == "__main__":
    main()

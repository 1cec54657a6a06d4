"""The inference engines, and the choice between them.

A fork adds an engine with one module, which defines an EngineType, and one line in ENGINES.
"""

from typing import TYPE_CHECKING

from lineup.config import Config
from lineup.engines import openvino_cache, torch_engine
from lineup.engines.engine import EngineType, Precision
from lineup.errors import BackboneError, ConfigError, LineupError, did_you_mean, unique_names

if TYPE_CHECKING:
    from lineup.registry import Plan


# In order of preference.
_ENGINES = [openvino_cache.ENGINE, torch_engine.ENGINE]
ENGINES = unique_names("ENGINES", ((engine.name, engine) for engine in _ENGINES))


def check(config: Config) -> None:
    """Check the config's `engine`.

    Raises:
        ConfigError: when it is neither ``auto`` nor a key of ENGINES.
    """
    name, names = config.engine, ["auto", *sorted(ENGINES)]
    if name not in names:
        hint = did_you_mean(name, names) or "fix it, or leave `engine` out"
        where = config.where("engine")
        raise ConfigError(str(LineupError(where, f"one of {', '.join(names)}", f"got {name!r}", hint)))


def choose(name: str, plan: "Plan", device: str, precision: Precision) -> tuple[EngineType, EngineType | None]:
    """Return the preferred engine of a backbone, and the one that answers while the preferred one converts it.

    Args:
        name: the config's `engine`: ``auto``, or the only one to use.
        plan: the backbone's.
        device: cpu, cuda or mps.
        precision: the config's `precision`.

    Raises:
        BackboneError: when the named engine cannot run here.
    """
    if name == "auto":
        # one that converts reports why it is unavailable when it is built, while another one answers
        usable = [engine for engine in ENGINES.values() if engine.converts or not engine.unavailable(precision)]
        preferred, *others = [engine for engine in usable if engine.applies(plan, device)]
        interim = next((engine for engine in others if not engine.converts), None)
        return preferred, interim if preferred.converts else None
    engine = ENGINES[name]
    if not engine.applies(plan, device):
        raise BackboneError("engine", f"an engine for {device}", f"got {name}", "write `engine: auto`")
    if reason := engine.unavailable(precision):
        raise BackboneError("engine", f"{name} to run here", reason, "write `engine: auto`")
    return engine, None

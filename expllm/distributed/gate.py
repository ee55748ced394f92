"""A trained checkpoint -> the gate, and a name for what passes; in this process, without a cluster."""

from expllm import promoted
from expllm.config import GateConfig
from expllm.distributed import cluster
from expllm.errors import CallerError
from expllm.models.checkpoint import NAMES, Checkpoint, resolve
from expllm.models.gating import Passed, check


def run(config: GateConfig) -> Passed:
    """Try `config.model` in vLLM beside what its training recorded.

    Raises:
        CallerError: there is no such checkpoint, or no training recorded anything of it.
        RunError: the checkpoint must not serve, and all reasons.
    """
    cluster.prepare_engine_here(config)
    return check(config.model, config.dtype, config.engine_overrides)


def promote(name: str, config: GateConfig) -> Passed:
    """Make a name stand for `config.model` if it passes; otherwise the name stays as it was.

    Raises:
        CallerError: the name cannot be one, or as `run`.
        RunError: as `run`.
    """
    if promoted.checked(name) in NAMES:
        raise CallerError(f"{name} is the name of a model that ships: choose another")
    passed = run(config)
    promoted.promote(name, passed.checkpoint.path, passed.checkpoint.model_id)
    return passed


def roll_back(name: str) -> Checkpoint:
    """Make a name stand for the checkpoint before, and return that.

    Raises:
        CallerError: there is none, or it is gone or was changed since its promotion.
    """
    earlier = promoted.before(name)
    found = resolve(earlier.checkpoint)
    if found.model_id != earlier.model_id:
        raise CallerError(f"{earlier.checkpoint} was changed since its promotion: promote it again")
    promoted.roll_back(name, earlier)
    return found

"""INPUT -> what labelling it would take: a few photographs are labelled, the rest is told from them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expllm.config import PlanConfig
from expllm.distributed import label, listing, pipeline, storage
from expllm.errors import CallerError, Outcome
from expllm.manifest import seal, shard_size
from expllm.planning import Canary, Plan, plan

_PAGE = 1000
"""Objects on a page of a listing."""
_PUTS_PER_SHARD = 3
"""The rows' file, the commit, and what delta-rs asks besides."""


def run(source: str, config: PlanConfig) -> Plan:
    """Label a canary of `source` into a folder that is removed again, and tell what all of it would take.

    Raises:
        CallerError: the input or a setting is wrong, or it would cost more than `max_cost`.
        RunError: too many of the canary's photographs were rejected.
    """
    photographs = seal(listing.list_photographs(source)).slice(0, config.limit)
    chosen = np.random.default_rng(config.seed).permutation(photographs.num_rows)[: config.canary]
    few = photographs.take(pa.array(np.sort(chosen)))
    labelling = config.labelling()
    with TemporaryDirectory(prefix="expllm-plan-") as folder:
        summary = label.run_listed(few, source, str(Path(folder, "out")), labelling)
    canary = Canary(
        photographs=summary.photographs,
        faces=summary.faces,
        rejected=summary.outcomes[Outcome.REJECTED],
        prompt_tokens=summary.prompt_tokens,
        generated_tokens=summary.generated_tokens,
        size_bytes=_bytes(few),
        elapsed_s=summary.elapsed_s,
        marks=summary.marks,
    )
    held = pipeline.machines(labelling)
    requests = _requests(source, photographs.num_rows)
    planned = plan(photographs.num_rows, _bytes(photographs), requests, canary, held, config.prices)
    _check_cost(planned, config.max_cost)
    return planned


def _bytes(photographs: pa.Table) -> int:
    return pc.sum(photographs["size_bytes"]).as_py() or 0


def _requests(source: str, photographs: int) -> dict[str, int]:
    if not storage.is_s3(source):
        return {}
    shards = -(-photographs // shard_size(photographs))
    return {"list": -(-photographs // _PAGE), "get": photographs, "put": shards * _PUTS_PER_SHARD}


def _check_cost(planned: Plan, most: float | None) -> None:
    if most is not None and planned.cost_high is not None and planned.cost_high > most:
        raise CallerError(
            f"it would cost {planned.cost:.2f}, at most {planned.cost_high:.2f}, and max_cost is {most:.2f}; "
            "raise it, or lower `limit`"
        )

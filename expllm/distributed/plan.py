"""INPUT -> what labelling it would take: a few photographs are labelled, the rest is told from them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expllm.config import PlanConfig
from expllm.distributed import label, listing, pipeline
from expllm.errors import CallerError, Outcome
from expllm.manifest import seal
from expllm.planning import Canary, Plan, plan


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
        elapsed_s=summary.elapsed_s,
        marks=summary.marks,
    )
    held = pipeline.machines(labelling)
    size_bytes = pc.sum(photographs["size_bytes"]).as_py() or 0
    requests = label.requests(source, photographs.num_rows)
    planned = plan(photographs.num_rows, size_bytes, requests, canary, held, config.prices)
    _check_cost(planned, config.max_cost)
    return planned


def _check_cost(planned: Plan, most: float | None) -> None:
    if most is not None and planned.cost_high is not None and planned.cost_high > most:
        raise CallerError(
            f"it would cost {planned.cost:.2f}, at most {planned.cost_high:.2f}, and max_cost is {most:.2f}; "
            "raise it, or lower `limit`"
        )

"""`python -m jobs.plan INPUT`: what labelling INPUT would take, from a few photographs that are labelled."""

import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from expllm.cli import run_command
from expllm.config import PlanConfig
from expllm.distributed import plan
from expllm.planning import Plan


def main(
    source: Annotated[str, Argument(metavar="INPUT", help="As `expllm label` takes it.")],
    config: Annotated[Path | None, Option(help="TOML file; jobs/label.toml names every key.")] = None,
    set_: Annotated[list[str] | None, Option("--set", help="key=value, over the file.")] = None,
    canary: Annotated[int | None, Option(min=1, help="Photographs to label, drawn by chance.")] = None,
    max_cost: Annotated[float | None, Option(min=0, help="Refuse what may cost more.")] = None,
    json_: Annotated[Path | None, Option("--json", help="Where to write the plan as JSON.")] = None,
) -> None:
    """Say what labelling INPUT would take: photographs, faces, tokens, time, cost."""
    given = {"canary": canary, "max_cost": max_cost}
    overrides = [*(set_ or ()), *(f"{key}={value}" for key, value in given.items() if value is not None)]
    planned = plan.run(source, PlanConfig.read(config, overrides))
    if json_:
        json_.write_text(json.dumps(asdict(planned), indent=2) + "\n")
    print(text(planned))


def text(planned: Plan) -> str:
    """The plan as lines that a person reads."""
    requests = ", ".join(f"{count:,} {kind}" for kind, count in planned.requests.items())
    costs = "no prices given"
    if planned.cost is not None:
        costs = f"{planned.cost:.2f} (at most {planned.cost_high:.2f})"
    lines = {
        "photographs": f"{planned.photographs:,}, {planned.size_bytes / 1024**2:,.0f} MiB",
        "faces": f"{planned.faces:,}, of them {planned.rejected:,} rejected",
        "tokens": f"{planned.prompt_tokens:,} read, {planned.generated_tokens:,} written",
        "time": f"{_clock(planned.time_s)} ({_clock(planned.time_low_s)} to {_clock(planned.time_high_s)})",
        "machines": f"{planned.cpu_hours:,.2f} CPU hours, {planned.gpu_hours:,.2f} GPU hours",
        "S3 requests": requests or "none",
        "cost": costs,
    }
    told = "\n".join(f"{name:12} {value}" for name, value in lines.items())
    return f"{told}\n{'':12} told from {planned.canary} photographs that were labelled"


def _clock(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))


if __name__ == "__main__":
    run_command(main)

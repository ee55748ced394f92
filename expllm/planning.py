"""What labelling would take, told from what a few of the photographs took."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from expllm.config import Prices
from expllm.errors import RunError

_SETTLED, _DRAINING = 0.2, 0.95
"""Between these shares of a run all its stages are at work, so that its pace is a long run's."""
_ROUNDS = 1000
_BAND = (0.05, 0.95)

Mark = tuple[int, float]
"""Photographs done, and the seconds since the run began."""


@dataclass(frozen=True)
class Canary:
    """What came of labelling a few photographs drawn by chance."""

    photographs: int
    faces: int
    rejected: int
    prompt_tokens: int
    generated_tokens: int
    elapsed_s: float
    marks: Sequence[Mark]
    """How far it was at which time, the first mark first."""


@dataclass(frozen=True)
class Machines:
    """What a run holds while it goes on."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Plan:
    """What the whole would take; counts are the canary's, in proportion."""

    photographs: int
    canary: int
    """Photographs that the figures are told from."""
    faces: int
    rejected: int
    prompt_tokens: int
    generated_tokens: int
    size_bytes: int
    time_s: float
    time_low_s: float
    time_high_s: float
    """Between these lie nine of ten times that the canary's own pace, drawn anew in parts, would give."""
    cpu_hours: float
    gpu_hours: float
    requests: dict[str, int]
    """S3 requests by kind: list, get, put."""
    cost: float | None
    """In the currency of the prices; None where none are given."""
    cost_high: float | None
    """The same for the longest time."""


def plan(
    photographs: int,
    size_bytes: int,
    requests: dict[str, int],
    canary: Canary,
    held: Machines,
    prices: Prices,
) -> Plan:
    """What labelling so many photographs takes, on the machines that labelled the canary."""
    share = photographs / max(1, canary.photographs)
    low_s, time_s, high_s = times(photographs, canary)
    return Plan(
        photographs=photographs,
        canary=canary.photographs,
        faces=round(canary.faces * share),
        rejected=round(canary.rejected * share),
        prompt_tokens=round(canary.prompt_tokens * share),
        generated_tokens=round(canary.generated_tokens * share),
        size_bytes=size_bytes,
        time_s=time_s,
        time_low_s=low_s,
        time_high_s=high_s,
        cpu_hours=held.cpus * time_s / 3600,
        gpu_hours=held.gpus * time_s / 3600,
        requests=requests,
        cost=cost(time_s, requests, held, prices),
        cost_high=cost(high_s, requests, held, prices),
    )


def cost(seconds: float, requests: dict[str, int], held: Machines, prices: Prices) -> float | None:
    """What machines held for so long, and these requests, cost; None where no price is given."""
    if prices == Prices():
        return None
    machines = (held.cpus * prices.cpu_hour + held.gpus * prices.gpu_hour) * seconds / 3600
    rates = {"list": prices.list_1000, "get": prices.get_1000, "put": prices.put_1000}
    return machines + sum(rates[kind] * count / 1000 for kind, count in requests.items())


@dataclass
class Budget:
    """What a run may cost; it is asked after each commit, and ends the run before the next would pass it."""

    held: Machines
    prices: Prices
    most: float | None
    """None where it may cost anything."""
    checked_s: float = 0.0
    longest_s: float = 0.0
    """The longest time from one commit to the next."""

    def check(self, elapsed_s: float, requests: dict[str, int]) -> None:
        """Count what the time and the requests have cost by now.

        Raises:
            RunError: a commit as long in coming as the longest so far would pass the limit.
        """
        self.longest_s = max(self.longest_s, elapsed_s - self.checked_s)
        self.checked_s = elapsed_s
        if self.most is None:
            return
        spent = cost(elapsed_s, requests, self.held, self.prices) or 0.0
        expected = cost(elapsed_s + self.longest_s, requests, self.held, self.prices) or 0.0
        if expected > self.most:
            raise RunError(
                f"{spent:.2f} are spent, and the next photographs would pass max_cost {self.most:.2f}; "
                "what is labelled stays: raise it and run again to go on"
            )


def times(photographs: int, canary: Canary, seed: int = 0) -> tuple[float, float, float]:
    """The seconds that a run takes: at least, probably, at most.

    Starting and ending take what they took the canary; each photograph more takes what one took in between.
    A canary of all photographs has taken its own time.
    """
    more = photographs - canary.photographs
    steps = _steps(canary)
    if more <= 0 or not steps:
        return (canary.elapsed_s, canary.elapsed_s, canary.elapsed_s)
    rng = random.Random(seed)
    drawn = sorted(_pace(rng.choices(steps, k=len(steps))) for _ in range(_ROUNDS))
    low, high = (drawn[math.floor(share * (_ROUNDS - 1))] for share in _BAND)
    pace = _pace(steps)
    least, probable, most = (canary.elapsed_s + more * s for s in (min(low, pace), pace, max(high, pace)))
    return least, probable, most


def _steps(canary: Canary) -> list[Mark]:
    """Photographs and seconds from mark to mark, where all stages were at work."""
    bounds = (_SETTLED * canary.photographs, _DRAINING * canary.photographs)
    marks = [mark for mark in canary.marks if bounds[0] <= mark[0] <= bounds[1]]
    marks = marks if len(marks) > 1 else [(0, 0.0), *canary.marks[-1:]]
    return [(done - before, at - since) for (before, since), (done, at) in pairwise(marks)]


def _pace(steps: Sequence[Mark]) -> float:
    """Seconds for one photograph."""
    return sum(seconds for _, seconds in steps) / max(1, sum(photographs for photographs, _ in steps))

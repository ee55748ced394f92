"""One process among those that train together: what they agree on, and how they stop together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from expllm.errors import CallerError

T = TypeVar("T")


class AnotherStopped(CallerError):
    """Another worker cannot go on; why, it says itself."""


@dataclass(frozen=True)
class Workers:
    """This process among those that train together."""

    rank: int = 0
    world_size: int = 1
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model
    """Makes the model average gradients over the workers: it is wrapped (DDP) or altered (FSDP2)."""
    most: Callable[[int], int] = lambda number: number
    """The largest of the numbers that the workers give; all must ask together."""
    in_step: bool = False
    """Whether all must run the model equally often, as those do that divide its weights among them."""

    def all_do(self, act: Callable[[], T]) -> T:
        """Do something in every worker: where one cannot, none goes on, and so none waits for another.

        Raises:
            CallerError: in the first of those that cannot, its own.
            AnotherStopped: in the others.
        """
        failure: CallerError | None = None
        try:
            done = act()
        except CallerError as error:
            failure = error
        first = self.world_size - self.most(0 if failure is None else self.world_size - self.rank)
        if failure is not None and first == self.rank:
            raise failure
        if first < self.world_size:
            raise AnotherStopped(f"worker {first} cannot go on")
        return done

import numpy as np

from benchmarks.borders import Read
from expllm.expressions import EXPRESSIONS, Expression

NEUTRAL, HAPPINESS, FEAR = (
    EXPRESSIONS.index(e) for e in (Expression.NEUTRAL, Expression.HAPPINESS, Expression.FEAR)
)


def rows(*strongest: int) -> np.ndarray:
    return np.eye(len(EXPRESSIONS), dtype=np.float32)[list(strongest)]


def test_a_vote_and_a_constant_move_the_answer() -> None:
    read = Read(rows(FEAR, NEUTRAL), 2 * rows(HAPPINESS, NEUTRAL), np.array([HAPPINESS, NEUTRAL]))
    assert read.accuracy(0.0) == 0.5
    assert read.accuracy(1.0) == 1.0
    assert read.accuracy(1.0, added=-5.0) == 0.5
    assert read.accuracy(1.0) == 1.0  # what was tried before changes nothing

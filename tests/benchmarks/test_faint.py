import pytest

from benchmarks.faint import PEAK, weakened
from benchmarks.measures import FAINT_BELOW
from expllm.expressions import EXPRESSIONS, Expression
from expllm.rendering import expressions


@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if e is not Expression.NEUTRAL])
@pytest.mark.parametrize("seed", range(20))
def test_a_weakened_expression_is_faint(expression: Expression, seed: int) -> None:
    weaker = weakened(expressions.sample(expression, seed))
    assert weaker.peak == PEAK
    assert PEAK * 0.99 <= max(weaker.action_units.values()) < FAINT_BELOW

import numpy as np

from benchmarks.carry_over import Mix, accuracy, fit, weights
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS
from expllm.models.dataset import POINTS, FaceSet

PLACES = np.arange(64) % len(EXPRESSIONS)


def faces() -> FaceSet:
    count = len(PLACES)
    return FaceSet(
        crops=np.zeros((count, 8, 8, 3), np.uint8),
        action_units=np.zeros((count, len(COLUMNS)), np.float32),
        measured=np.zeros((count, len(COLUMNS)), np.float32),
        expressions=PLACES,
        pose_deg=np.zeros((count, 3), np.float32),
        points=np.zeros((count, len(POINTS), 2), np.float32),
        peaks=np.where(PLACES == 0, 0, np.linspace(0.1, 1, count)).astype(np.float32),
        persons=np.arange(count),
    )


def test_a_reader_learns_what_the_tokens_tell() -> None:
    features = np.zeros((len(PLACES), 4, len(EXPRESSIONS)), np.float16)
    features[np.arange(len(PLACES)), :, PLACES] = 3
    reader = fit(features, PLACES, np.ones(len(PLACES)))
    assert accuracy(reader, features, PLACES) == 1


def test_faint_expressions_are_left_out_and_faces_at_rest_are_not() -> None:
    often = weights(faces(), Mix("strong", 0.5, {Expression.NEUTRAL: 3}))
    assert (often[PLACES == 0] == 3).all()
    assert set(often[(PLACES > 0) & (faces().peaks < 0.5)]) == {0}
    assert set(often[(PLACES > 0) & (faces().peaks >= 0.5)]) == {1}

import sys

import numpy as np
import pytest

from benchmarks.detection import Seen
from benchmarks.peers import ByClassifier, ByRule, FaceApi, Fer, letterboxed
from expllm.errors import CallerError
from expllm.evaluation.answers import Said
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS, Intensities
from expllm.unit_reader import EVIDENCE

REST = dict.fromkeys(COLUMNS, 0.0)
SMILE = REST | {"au06": 0.7, "au12": 0.8, "au12_left": 0.8, "au12_right": 0.8}


def seen(
    pixels: np.ndarray, box_px: tuple[float, float, float, float], action_units: Intensities = REST
) -> Seen:
    features = np.zeros((49, 512), np.float16)
    return Seen(pixels, box_px, np.zeros((112, 112, 3), np.uint8), features, action_units, action_units)


def white(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)


def test_a_narrow_box_is_centred_between_black_bars() -> None:
    square = letterboxed(seen(white(200, 200), (50.0, 0.0, 100.0, 100.0)), 112)
    assert square.shape == (112, 112, 3)
    assert (square[:, :27] == 0).all() and (square[:, -27:] == 0).all()
    assert (square[:, 28:84] == 255).all()


def test_a_box_beyond_the_picture_is_clipped_to_it() -> None:
    square = letterboxed(seen(white(100, 100), (-20.0, -20.0, 80.0, 80.0)), 112)
    assert (square == 255).all()


def test_fers_crop_is_a_square_with_ten_pixels_more() -> None:
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[40:140, 60:160] = 255  # what the box and ten pixels around it show
    assert (Fer.cropped(seen(pixels, (80.0, 50.0, 140.0, 130.0))) == 255).all()


def test_fer_fills_what_lies_outside_with_the_last_rows_mean() -> None:
    pixels = white(100, 100)
    pixels[-2:] = 100
    crop = Fer.cropped(seen(pixels, (0.0, 0.0, 60.0, 60.0)))
    assert crop[0, 0] == 100 and crop[32, 32] == 255


def test_fer_that_is_not_installed_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fer", None)  # as where it is not installed
    with pytest.raises(CallerError, match="not installed"):
        Fer()


def test_face_api_gives_probabilities_of_seven_expressions() -> None:
    net = FaceApi()
    face = seen(white(112, 112), (0.0, 0.0, 112.0, 112.0))
    assert net.probabilities(face).sum().item() == pytest.approx(1.0, abs=1e-5)
    assert set(net.ORDER) == set(EXPRESSIONS) - {Expression.CONTEMPT}


def test_without_a_language_model_the_same_grammar_is_written() -> None:
    said = ByRule()(seen(white(9, 9), (0.0, 0.0, 9.0, 9.0), action_units=SMILE))
    assert said.expression is Expression.HAPPINESS
    assert said.parsed and "lip corner puller" in said.key_observations
    assert 0.5 < said.confidence <= 1


def test_the_classifier_gives_the_encoders_own_answer() -> None:
    face = seen(white(9, 9), (0.0, 0.0, 9.0, 9.0), action_units=SMILE)
    face.features[:, -EVIDENCE + EXPRESSIONS.index(Expression.ANGER)] = 4
    said = ByClassifier()(face)
    assert said.expression is Expression.ANGER and said.confidence > 0.8
    assert "lip corner puller" in said.key_observations


def test_without_movements_there_the_face_is_neutral() -> None:
    said = ByRule()(seen(white(9, 9), (0.0, 0.0, 9.0, 9.0)))
    assert said == Said(Expression.NEUTRAL, 1.0, said.key_observations, parsed=True)

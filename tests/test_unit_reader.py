import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm.facs import COLUMNS
from expllm.unit_reader import UnitReader, logit, sigmoid, unit_logits


def reader(shares=(0.5, 0.5, 0.0)):
    return UnitReader(np.tile(np.float32(shares), (len(COLUMNS), 1)))


def features(faces=3, seed=1):
    return np.random.default_rng(seed).normal(0, 1, (faces, 4, 6 + len(COLUMNS))).astype(np.float16)


def measured(faces=3, value=0.3):
    return np.full((faces, len(COLUMNS)), value, np.float32)


@given(st.floats(0.002, 0.998))
def test_a_logit_leads_back_to_its_intensity(intensity):
    assert sigmoid(logit(np.float32([intensity])))[0] == pytest.approx(intensity, abs=1e-3)


def test_landmarks_alone_decide_where_they_have_the_whole_share():
    joined = reader(shares=(1, 0, 0)).join(features(), measured(value=0.3))
    np.testing.assert_allclose(joined, 0.3, atol=1e-5)


def test_features_alone_decide_where_they_have_the_whole_share():
    one, other = (reader(shares=(0, 1, 0)).join(features(), measured(value=v)) for v in (0.1, 0.9))
    np.testing.assert_array_equal(one, other)


def test_what_cannot_be_measured_stays_unknown():
    given_ = measured()
    given_[1, 4] = np.nan
    assert np.argwhere(np.isnan(reader().join(features(), given_))).tolist() == [[1, 4]]


@given(st.floats(0, 1))
def test_joined_intensities_stay_in_range(value):
    joined = reader(shares=(3, 5, 1)).join(features(), measured(value=value))
    assert (joined >= 0).all()
    assert (joined <= 1).all()


def test_what_features_say_stands_in_the_last_channels_of_a_token():
    tokens = features()
    np.testing.assert_array_equal(unit_logits(tokens)[:, 0], tokens[:, 0, -len(COLUMNS)])


def test_no_faces_give_no_rows():
    assert reader().join(features(0), measured(0)).shape == (0, len(COLUMNS))


def test_saved_weights_are_read_back(tmp_path):
    reader().save(tmp_path / "weights.npz")
    again = UnitReader.load(tmp_path / "weights.npz")
    np.testing.assert_allclose(
        again.join(features(), measured()), reader().join(features(), measured()), atol=5e-3
    )

"""Fine-tuning on Ray Train: two workers, and a model that Transformers and vLLM can load."""

import json

import pytest

from expllm.config import TrainConfig
from expllm.distributed import train
from expllm.errors import CallerError
from expllm.models import dataset
from expllm.models.checkpoint import resolve
from jobs import faces as rendered

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    rendered.main(folder / "faces", count=16, size_px=160)
    dataset.prepare(folder / "faces", folder / "prepared")
    return folder / "prepared"


@pytest.fixture(scope="module")
def trained(local_ray, prepared, tiny_checkpoint, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained")
    config = TrainConfig(
        faces=str(prepared), output=str(output), model=str(tiny_checkpoint), steps=3, batch_size=4, workers=2
    )
    return train.run(config)


def test_two_workers_leave_a_model_that_can_be_labelled_with(trained, tiny_checkpoint):
    assert resolve(str(trained)).model_id != resolve(str(tiny_checkpoint)).model_id


def test_the_card_says_what_the_model_was_trained_from(trained, tiny_checkpoint):
    assert json.loads((trained / "card.json").read_text())["trained_from"] == str(tiny_checkpoint)


def test_missing_faces_are_named(tiny_checkpoint, tmp_path):
    config = TrainConfig(faces="/no/such", output=str(tmp_path), model=str(tiny_checkpoint), steps=1)
    with pytest.raises(CallerError, match="/no/such"):
        train.run(config)

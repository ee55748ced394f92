from pathlib import Path

import pytest

import jobs
from expllm.config import BuildCotConfig, LabelConfig
from expllm.errors import CallerError
from expllm.train_config import TrainConfig


def test_without_a_file_every_key_has_its_default():
    assert LabelConfig.read() == LabelConfig()


def test_the_command_line_wins_over_the_file(tmp_path):
    (tmp_path / "label.toml").write_text('limit = 5\nengine = "serve"')
    config = LabelConfig.read(tmp_path / "label.toml", ["limit=8", "hints=false"])
    assert (config.limit, config.engine, config.hints) == (8, "serve", False)


def test_a_bare_word_is_text():
    assert LabelConfig.read(None, ["model=/models/mine", "engine=serve"]).model == "/models/mine"


def test_a_table_is_written_as_toml_writes_it():
    config = LabelConfig.read(None, ['engine_kwargs={dtype="float32", max_num_seqs=4}'])
    assert config.engine_kwargs == {"dtype": "float32", "max_num_seqs": 4}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["modle=x"], "there is no key 'modle'; did you mean model?"),
        (["max_reject=1"], "there is no key 'max_reject'; did you mean max_reject_rate?"),
        (["limit=0"], "limit: Input should be greater than or equal to 1, not 0"),
        (["limit"], "--set limit: write key=value"),
        (["engine=vlm"], "engine: Input should be 'vllm' or 'serve', not 'vlm'"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_how_to_mend_it(overrides, message):
    with pytest.raises(CallerError) as caught:
        LabelConfig.read(None, overrides)
    assert str(caught.value) == message


def test_a_key_like_no_other_is_answered_with_the_keys_there_are():
    with pytest.raises(CallerError, match=r"'xyzzy'; the keys are model, encoder_gpus,"):
        LabelConfig.read(None, ["xyzzy=1"])


@pytest.mark.parametrize(("text", "message"), [(None, "cannot be read"), ("a = [", "is not TOML")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text, message):
    path = tmp_path / "label.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CallerError, match=rf"label\.toml: {message}"):
        LabelConfig.read(path)


def test_a_configuration_never_changes():
    with pytest.raises(ValueError, match="frozen"):
        LabelConfig().limit = 3


def test_the_shipped_file_names_every_key_that_has_a_default():
    file = Path(jobs.__path__[0]) / "build_cot.toml"
    assert BuildCotConfig.read(file) == BuildCotConfig()
    unset = {"teacher_url", "teacher_model", "max_cost", "cache", "limit"}
    text = file.read_text()
    assert all(key in text for key in BuildCotConfig.model_fields)
    assert unset == {key for key, value in BuildCotConfig() if value is None}


def test_a_price_is_written_as_toml_writes_it():
    config = BuildCotConfig.read(None, ['prices={"a-model" = {prompt = 1, answer = 4.5}}'])
    assert config.prices["a-model"].answer == 4.5


def test_a_setting_that_is_missing_is_asked_for():
    with pytest.raises(CallerError, match=r"^output is not given: name it .* as --set output="):
        TrainConfig.read(None, ["steps=3"])

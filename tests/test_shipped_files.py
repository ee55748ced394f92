"""The configuration files that ship say what the code does."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from expllm.config import Config, LabelConfig, ServiceConfig
from expllm.train_config import TrainConfig

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("name", "config"), [("label", LabelConfig), ("serve", ServiceConfig), ("train", TrainConfig)]
)
def test_a_jobs_file_names_its_keys_with_their_defaults(name: str, config: type[Config]) -> None:
    read = config.read(ROOT / "jobs" / f"{name}.toml")
    required = {key: getattr(read, key) for key, field in config.model_fields.items() if field.is_required()}
    assert read == config.of(required)


@pytest.mark.parametrize(
    ("name", "config"), [("label", LabelConfig), ("serve", ServiceConfig), ("train", TrainConfig)]
)
def test_a_jobs_file_names_every_key_even_those_left_out(name: str, config: type[Config]) -> None:
    text = (ROOT / "jobs" / f"{name}.toml").read_text()
    assert set(re.findall(r"^(?:# )?\[?(\w+)(?: =|\])", text, re.MULTILINE)) == set(config.model_fields)


def test_jobs_carry_the_wheel_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / "cluster" / "runtime_env.yaml").read_text())
    wheel = f"dist/{project['name']}-{project['version']}-py3-none-any.whl"
    assert environment["py_modules"] == [wheel]


def test_the_local_cluster_listens_on_the_loopback_and_asks_for_a_token() -> None:
    cluster = yaml.safe_load((ROOT / "cluster" / "local.yaml").read_text())
    (start,) = cluster["head_start_ray_commands"]
    assert "RAY_AUTH_MODE=token" in start and "--dashboard-host 127.0.0.1" in start

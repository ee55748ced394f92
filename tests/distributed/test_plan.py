"""What labelling a folder would take, by the job itself over a small model."""

from importlib.resources import files
from pathlib import Path

import pytest

from expllm.config import LabelConfig, PlanConfig
from expllm.distributed import label, plan, table
from expllm.errors import CallerError, RunError
from expllm.planning import Plan
from jobs.plan import text

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    demo = Path(str(files("expllm"))) / "data" / "demo"
    for number in range(4):
        # Other bytes each: what is the same is labelled once. And a face that no other test asks about: an
        # engine that knows a prompt already rounds its answer otherwise.
        (folder / f"{number}.jpg").write_bytes((demo / "03_anger.jpg").read_bytes() + bytes(number))
    return folder


@pytest.fixture(scope="module")
def settings(tiny_checkpoint: Path) -> dict[str, object]:
    engine = {"dtype": "float32", "max_num_seqs": 16}
    prices = {"cpu_hour": 3600.0, "get_1000": 1.0}
    return {"model": str(tiny_checkpoint), "engine": "serve", "engine_kwargs": engine, "prices": prices}


@pytest.fixture(scope="module")
def planned(local_ray: str, photographs: Path, settings: dict[str, object]) -> Plan:
    return plan.run(str(photographs), PlanConfig.of({**settings, "canary": 2}))


def test_the_whole_is_told_from_a_few(planned: Plan, photographs: Path) -> None:
    assert (planned.photographs, planned.canary, planned.faces, planned.rejected) == (4, 2, 4, 0)
    assert planned.size_bytes == sum(file.stat().st_size for file in photographs.iterdir())
    assert 0 < planned.time_low_s <= planned.time_s <= planned.time_high_s
    assert planned.generated_tokens > 0


def test_the_cost_is_that_of_the_machines(planned: Plan) -> None:
    assert planned.requests == {}  # the photographs lie in a folder
    assert planned.cost == pytest.approx(planned.cpu_hours * 3600)
    assert f"{planned.cost:.2f} (at most" in text(planned)


def test_what_may_cost_too_much_is_refused(planned: Plan) -> None:
    assert planned.cost is not None
    with pytest.raises(CallerError, match=r"max_cost is 0\.01; raise it, or lower `limit`"):
        plan._check_cost(planned, 0.01)


def test_a_run_ends_before_it_costs_too_much(
    planned: Plan, photographs: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    config = LabelConfig.of({**settings, "max_cost": 0.01, "shard_size": 1})
    with pytest.raises(RunError, match=r"max_cost 0\.01; what is labelled stays"):
        label.run(str(photographs), str(tmp_path), config)
    labels = table.open_table(str(tmp_path))
    assert labels is not None and 0 < table.keys(labels).num_rows < 4


def test_a_dry_run_counts_and_writes_nothing(
    photographs: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    due = label.dry_run(str(photographs), str(tmp_path / "out"), LabelConfig.of(settings))
    assert (due.num_listed, due.num_pending) == (4, 4)
    assert not (tmp_path / "out").exists()


def test_a_limit_without_prices_is_the_callers_mistake() -> None:
    with pytest.raises(CallerError, match="needs prices"):
        PlanConfig.of({"max_cost": 1.0})

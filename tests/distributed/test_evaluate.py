"""The whole evaluation: the bundled model, and an endpoint on the loopback, on a few rendered faces."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from expllm.config import EvaluateConfig
from expllm.distributed import evaluate
from expllm.errors import CallerError
from tests.chat_server import Endpoint
from tests.conftest import BY_HEART
from tests.evaluation.test_document import KEYS

FACES, PAIRS = 8, 2
SETTINGS = {"pairs": PAIRS, "pairs_seed": 900_000, "bootstrap_rounds": 20}


def _job(*words: str) -> str:
    """Run a job in a process of its own: rendering and vLLM do not get along in one."""
    ended = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _config(endpoint: Endpoint, **more: int) -> EvaluateConfig:
    return EvaluateConfig.of({**SETTINGS, "model": f"openai:{endpoint.url}#model", **more})


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "faces"
    _job("jobs.faces", "--out", str(folder), "--count", str(FACES), "--seed", "500000")
    return folder


@pytest.mark.timeout(900)
def test_the_bundled_model_is_measured_in_one_command(faces: Path) -> None:
    out = faces.parent / "bundled"
    command = ["jobs.evaluate", "expllm-135m", str(faces), "--out", str(out), "--pairs", str(PAIRS)]
    printed = _job(*command, "--json", str(faces.parent / "figures.json"), "--set", "bootstrap_rounds=20")
    found = json.loads((faces.parent / "figures.json").read_text())
    assert found.keys() >= KEYS
    assert found["faces"] == FACES
    assert found["parsed"] >= 0.8
    assert found["au_compared_with"] == "true"
    assert found["chain"]["unchanged"]["count"] > 0
    assert found["counterfactual"]["pairs"] == PAIRS
    assert "accuracy" in printed and (out / evaluate.PAGE).exists()


def test_an_endpoint_is_measured_by_the_same_figures(faces: Path, endpoint: Endpoint) -> None:
    endpoint.script(endpoint.said(BY_HEART))
    told: list[str] = []
    config, out = _config(endpoint, limit=3), str(faces.parent / "endpoint")
    found = evaluate.run(str(faces), out, config, against=config.model, tell=told.append)
    assert found.document["parsed"] == 1.0
    assert found.document["chain_followed"] is None
    assert found.document["against"]["line"].endswith("no telling")
    assert len(endpoint.requests) == 2 * (5 * 3 + 4 * PAIRS)
    assert "against" in Path(found.page).read_text()
    assert any("pairs" in line for line in told)


def test_an_endpoint_that_refuses_ends_the_evaluation_with_one_line(faces: Path, endpoint: Endpoint) -> None:
    endpoint.script(endpoint.reply(401, b'{"error": {"message": "no key"}}'))
    with pytest.raises(CallerError, match="no key"):
        evaluate.run(str(faces), str(faces.parent / "refused"), _config(endpoint, pairs=0, limit=1))
    assert not (faces.parent / "refused" / evaluate.DOCUMENT).exists()


@pytest.mark.parametrize(
    ("model", "data", "told"),
    [
        ("expllm-7", "faces", "no model"),
        ("openai:host", "faces", "openai:URL#MODEL"),
        ("openai:http://me:word@host#model", "faces", "no user name"),
        ("openai:http://127.0.0.1:9#model", "nowhere", "no such file or folder"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_is_done(
    model: str, data: str, told: str, faces: Path
) -> None:
    out = faces.parent / "wrong"
    with pytest.raises(CallerError, match=told):
        evaluate.run(str(faces.parent / data), str(out), EvaluateConfig(model=model))
    assert not out.exists()


def test_the_answers_of_an_endpoint_that_writes_nonsense_are_counted(faces: Path, endpoint: Endpoint) -> None:
    endpoint.script(endpoint.said("A happy face."))
    config = _config(endpoint, pairs=0, limit=2)
    found = evaluate.run(str(faces), str(faces.parent / "nonsense"), config).document
    assert (found["parsed"], found["accuracy"]) == (0.0, 0.0)
    assert found["without_label"] == {"text_malformed": 2}

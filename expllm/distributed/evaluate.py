"""MODEL and DATA -> the evaluation's document and page, and how it compares with another model.

An evaluation is of some thousand faces and runs in this one process: Ray would start processes for what one
engine does in minutes. What it shares with the jobs is the storage.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from expllm.config import EvaluateConfig
from expllm.datasets import Dataset, LabelledFace
from expllm.distributed import cluster, datasets, originals, storage
from expllm.errors import CallerError, Reject, RunError
from expllm.evaluation import document, page
from expllm.evaluation.answers import Answerer
from expllm.evaluation.asking import Asked, Shown, ShownPair, ask
from expllm.evaluation.bootstrap import Resampling
from expllm.evaluation.counterfactual import Pair
from expllm.evaluation.endpoint import PREFIX, EndpointAnswerer
from expllm.expressions import Expression
from expllm.models.checkpoint import resolve

DOCUMENT, PAGE = "evaluation.json", "evaluation.html"
_PAIRS = "pairs.parquet"
_GROUPS = ("skin", "age", "sex")
_FOR_ENDPOINTS = "expllm-135m"
"""Whose encoder measures the movements that an endpoint is given as hints."""


@dataclass(frozen=True)
class Evaluation:
    """What came of it."""

    document: dict[str, Any]
    page: str
    """Where the HTML page is."""


@dataclass(frozen=True)
class _Asked:
    """One model's answers and what they are about."""

    shown: list[Shown]
    pairs: list[ShownPair]
    answers: Asked


def run(
    data: str,
    out: str,
    config: EvaluateConfig,
    *,
    against: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Evaluate `config.model`, and `against` beside it, on the same faces; write the document and the page.

    Args:
        out: Folder or prefix to write to; the pairs are rendered into it where it is a folder.
        tell: Is told in one line what is done next.

    Raises:
        CallerError: the data, a model or an option is wrong.
        RunError: a model broke off.
    """
    models = [config.model, *([against] if against else [])]
    for model in models:
        _check(model)
    dataset = datasets.open(data)
    faces = _chosen(dataset, config)
    storage.check_writable(out)
    pairs = _pairs(Path("expllm-pairs") if storage.is_s3(out) else Path(out), config, tell)
    asked = [_ask(model, faces, pairs, config, tell) for model in models]
    result = _document(models, dataset, asked, config)
    place = storage.join(out, PAGE)
    storage.write(storage.join(out, DOCUMENT), json.dumps(result, indent=2).encode())
    storage.write(place, page.render(result).encode())
    return Evaluation(result, place)


def _check(model: str) -> None:
    """Refuse a model that is none before anything is rendered or read."""
    if model.startswith(PREFIX):
        EndpointAnswerer(model)
    else:
        resolve(model)


def _chosen(dataset: Dataset, config: EvaluateConfig) -> list[LabelledFace]:
    faces = [face for face in dataset.faces if face.expression is not None]
    if not faces:
        raise CallerError(f"{dataset.name}: none of its faces has a label to compare with")
    if config.limit is not None and config.limit < len(faces):
        places = sorted(random.Random(config.seed).sample(range(len(faces)), config.limit))
        faces = [faces[place] for place in places]
    return faces


def _pairs(folder: Path, config: EvaluateConfig, tell: Callable[[str], None]) -> list[Pair]:
    """Render the pairs once, in a process of its own: vLLM trips over the compiler that rendering loads."""
    if not config.pairs:
        return []
    rendered = folder / f"pairs-{config.pairs_seed}-{config.pairs}"
    if not (rendered / _PAIRS).exists():
        tell(f"rendering {config.pairs} pairs that differ in one movement")
        asked = {"out": rendered, "count": config.pairs, "seed": config.pairs_seed, "processes": _cores()}
        options = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
        ended = subprocess.run([sys.executable, "-m", "jobs.pairs", *options], capture_output=True, text=True)
        if ended.returncode:
            said = ended.stderr.strip().splitlines() or ["it says nothing"]
            raise RunError(f"the pairs could not be rendered: {said[-1]}")
    rows = pq.read_table(rendered / _PAIRS).to_pylist()
    return [
        Pair(absent["number"], _face(rendered, absent), _face(rendered, present))
        for absent, present in zip(rows[::2], rows[1::2], strict=True)
    ]


def _cores() -> int:
    return max(1, (os.cpu_count() or 1) - 1)


def _face(folder: Path, row: dict[str, Any]) -> LabelledFace:
    return LabelledFace(
        photo=str(folder / row["file"]),
        expression=Expression(row["expression"]),
        box_px=tuple(row["box_px"]),
        action_units=row["action_units"],
        person=str(row["person"]),
        groups={name: row[name] for name in _GROUPS},
    )


def _ask(
    model: str,
    faces: Sequence[LabelledFace],
    pairs: Sequence[Pair],
    config: EvaluateConfig,
    tell: Callable[[str], None],
) -> _Asked:
    from expllm.models.seeing import see  # torch

    tell(f"{model}: finding {len(faces) + 2 * len(pairs)} faces")
    checkpoint = resolve(_FOR_ENDPOINTS if model.startswith(PREFIX) else model)
    both = [face for pair in pairs for face in (pair.absent, pair.present)]
    wanted = [*faces, *both]
    found = list(
        see(
            wanted,
            _photos(wanted),
            checkpoint,
            timeout_s=config.decode_timeout_s,
            device=config.encoder_device,
        )
    )
    shown, pictured = found[: len(faces)], found[len(faces) :]
    shown_pairs = [ShownPair(*three) for three in zip(pairs, pictured[::2], pictured[1::2], strict=True)]
    with _answering(model, config, tell) as answerer:
        answers = ask(
            answerer,
            shown,
            shown_pairs,
            hints=config.hints,
            most_chains=config.changed_chains,
            tell=lambda line: tell(f"{model}: {line}"),
        )
    return _Asked(shown, shown_pairs, answers)


def _photos(faces: Sequence[LabelledFace]) -> Iterator[bytes | Reject]:
    for face in faces:
        yield originals.read_photograph(face.photo) if face.image is None else face.image


def _answering(
    model: str, config: EvaluateConfig, tell: Callable[[str], None]
) -> AbstractContextManager[Answerer]:
    if model.startswith(PREFIX):
        return nullcontext(EndpointAnswerer(model, has_form=config.endpoint_form, tell=tell))
    cluster.prepare_engine_here(config)
    from expllm.models.answering import EngineAnswerer  # vLLM reads the environment as it is imported

    tell(f"{model}: starting the engine")
    return EngineAnswerer(resolve(model), **config.engine_overrides)


def _document(
    models: Sequence[str], dataset: Dataset, asked: Sequence[_Asked], config: EvaluateConfig
) -> dict[str, Any]:
    drawn = Resampling(config.bootstrap_rounds, config.seed)
    about = [
        document.Evaluated(model, dataset.name, config.hints, dict(dataset.rejected), drawn)
        for model in models
    ]
    documents = [
        document.document(one, of.shown, of.pairs, of.answers) for one, of in zip(about, asked, strict=True)
    ]
    if len(documents) == 1:
        return documents[0]
    columns = [document.columns_of(of.shown, of.answers, hints=config.hints) for of in asked]
    ours, theirs = zip(models, columns, strict=True)
    compared = document.comparison(ours, theirs, document.people_of(asked[0].shown), drawn)
    return {**documents[0], "against": {**documents[1], **compared}}

"""The data that a training names -> parts of faces found, cut out and measured, made once."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy

from expllm.distributed import cluster, datasets, instruction_parts, pipeline, storage
from expllm.distributed.make_examples import MakeExamples, Part
from expllm.distributed.measure import LABELLED
from expllm.distributed.progress import Counts, shown
from expllm.errors import CallerError, RunError
from expllm.exp_cot import lessons
from expllm.exp_cot.lessons import Lessons
from expllm.faces import Cut
from expllm.models.checkpoint import Checkpoint
from expllm.models.face_reader import DETECTOR
from expllm.train_config import TrainConfig

PART_FACES = 256
"""Faces listed for a part: enough that few files are opened, and few enough to hold some parts in memory."""
_MADE, _COUNTED = "made.json", "counts.json"


@dataclass(frozen=True)
class Examples:
    """Prepared examples."""

    folder: str
    lengths: tuple[int, ...]
    """Rows of each part."""
    rejected: Mapping[str, int]
    """Listed faces that are not there, by reason."""

    @property
    def num_rows(self) -> int:
        """Examples in a pass."""
        return sum(self.lengths)


def gather(config: TrainConfig) -> Lessons:
    """Everything that `data` names, joined.

    Raises:
        CallerError: a source cannot be read, people leak between splits, no face is left, or nothing explains
            any face and chains of thought are asked for.
    """
    instructed = [source for source in config.data if _is_instructed(source)]
    others = [source for source in config.data if source not in instructed]
    rows = (row for source in instructed for row in instruction_parts.read(source).to_pylist())
    found = lessons.gather(map(datasets.open, others), rows)
    if found.num_unexplained == len(found.lessons) and config.label_only_rate < 1:
        raise CallerError(
            f"data {', '.join(config.data)}: labels are all there is, and label_only_rate is "
            f"{config.label_only_rate:g}: set it to 1, or have texts written with `expllm build-cot`"
        )
    return found


def prepare(config: TrainConfig, found: Lessons, cut: Cut, measuring: Checkpoint | None) -> Examples:
    """Find, cut out and measure all faces, once: what is done is left alone, and the rest is made.

    Args:
        cut: How the model that is trained wants faces cut out.
        measuring: The checkpoint whose encoder measures beside the landmarks, if one does.

    Raises:
        CallerError: other examples lie there, the cluster is too small, or no face can be used.
        RunError: a worker failed; the next run goes on.
    """
    folder = str(config.examples)
    _keep(folder, {"data": found.data_id, "measured_by": _measured_by(measuring), "cut": asdict(cut.wide)})
    counted = storage.join(folder, _COUNTED)
    if storage.stat(counted) is None:
        _make(config, found, cut.wide, measuring, folder)
        storage.write(counted, json.dumps(_counts(folder, len(found.lessons))).encode())
    made = read(folder)
    if not made.num_rows:
        raise CallerError(f"data: not one face can be used ({lessons.told(made.rejected)})")
    return made


def read(folder: str) -> Examples:
    """The examples that `prepare` left in a folder."""
    counts = json.loads(storage.read(storage.join(folder, _COUNTED)))
    return Examples(folder, tuple(counts["lengths"]), counts["rejected"])


def line(found: Lessons, made: Examples) -> str:
    """`480 faces to train on, 12 not_found, 100 with a label alone, 40 of other splits held out`."""
    rejected = Counter(found.rejected) + Counter(made.rejected)
    notes = [
        f"{made.num_rows} faces to train on",
        lessons.told(rejected),
        f"{found.num_unexplained} with a label alone" if found.num_unexplained else "",
        f"{found.num_unread_texts} texts that cannot be read" if found.num_unread_texts else "",
        f"{found.num_held_out} of other splits held out" if found.num_held_out else "",
    ]
    return ", ".join(filter(None, notes))


def _is_instructed(source: str) -> bool:
    """Whether a source is an output of build-cot."""
    return bool(storage.children(storage.join(source, instruction_parts.FOLDER)))


def _measured_by(measuring: Checkpoint | None) -> str:
    return DETECTOR if measuring is None else f"{DETECTOR}+{measuring.model_id}"


def _keep(folder: str, made: Mapping[str, Any]) -> None:
    """Write down what the examples are made of; refuse where others lie."""
    file = storage.join(folder, _MADE)
    if storage.stat(file) is None:
        storage.write(file, json.dumps(made, indent=2).encode() + b"\n")
        return
    kept = json.loads(storage.read(file))
    others = [name for name, value in made.items() if kept.get(name) != value]
    if others:
        raise CallerError(f"{folder}: holds examples of other {others[0]}; name another output or examples")


def _make(config: TrainConfig, found: Lessons, cut: Cut, measuring: Checkpoint | None, folder: str) -> None:
    """Make the parts that are not whole yet, and tell how far it is."""
    whole = {uri.rpartition("/")[2] for uri in _count_uris(folder)}
    parts = [Part(folder, number) for number in range(-(-len(found.lessons) // PART_FACES))]
    listed = [_listed(found, part.number) for part in parts if part.count_name not in whole]
    if not listed:
        return
    counts = Counts(sum(table.num_rows for table in listed))
    with cluster.connected(), cluster.naming(), shown(counts):
        for made in _made(config, listed, cut, measuring, folder):
            counts.photographs += made["listed"]
            counts.faces += made["rows"]
            counts.rejected += made["listed"] - made["rows"]


def _made(
    config: TrainConfig, listed: list[pa.Table], cut: Cut, measuring: Checkpoint | None, folder: str
) -> Iterator[Mapping[str, Any]]:
    workers = config.face_workers
    needed = {"CPU": pipeline.FACE_CPUS * workers, "GPU": config.encoder_gpus * workers}
    cluster.check_holds(needed, "face_workers")
    model = None if measuring is None else config.model
    if measuring is not None:
        pipeline.resolve_everywhere(config.model, measuring)
    pipeline.set_context()
    device = "cuda" if config.encoder_gpus else "cpu"
    with cluster.silent():
        made = ray.data.from_arrow(listed).map_batches(
            MakeExamples,
            fn_constructor_args=(folder, cut, model, device, config.decode_timeout_s),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=workers),
            num_cpus=pipeline.FACE_CPUS,
            num_gpus=config.encoder_gpus,
            **cluster.few_restarts(),
        )
    for batch in made.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from batch.to_pylist()


def _listed(found: Lessons, number: int) -> pa.Table:
    taken = found.lessons[number * PART_FACES : (number + 1) * PART_FACES]
    known = [json.dumps({**lesson.row, "part": number}) for lesson in taken]
    return pa.table({"known": known, "image": [lesson.face.image for lesson in taken]}, schema=LABELLED)


def _counts(folder: str, num_listed: int) -> dict[str, Any]:
    """The counts of all parts in one; every listed face is in a part or rejected."""
    counts = [json.loads(storage.read(uri)) for uri in _count_uris(folder)]
    rejected = sum((Counter(one["rejected"]) for one in counts), Counter[str]())
    lengths = [one["rows"] for one in counts]
    if sum(lengths) + rejected.total() != num_listed:
        raise RunError(f"{folder}: parts are missing or not of this data; delete it and run again")
    return {"lengths": lengths, "rejected": rejected}


def _count_uris(folder: str) -> list[str]:
    """The counts of the parts that are whole, in the parts' order."""
    uris = (found.uri for found in storage.children(folder))
    return sorted(uri for uri in uris if fnmatch(uri, "*/part-*.json"))

"""Turns a folder of rendered faces with known truth into aligned crops and arrays that trainings read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Int64, UInt8

from expllm import action_units, faces
from expllm.errors import CallerError, Reject
from expllm.expressions import EXPRESSIONS, Expression
from expllm.models.landmarker import Landmarker
from expllm.photographs import decode

STORED_PX = faces.STANDARD.wide.stored_px
"""Crops are kept with a margin, so that a training can move, turn and scale them."""

HELD_OUT_RATE = 0.04

FREQUENCIES = {Expression.NEUTRAL: 3.5, Expression.HAPPINESS: 2.0, Expression.CONTEMPT: 0.85}
"""How often trainings see an expression, against 1: people in photographs mostly rest or smile. With all
alike, a model calls every smile contempt that is a little crooked, and finds a little sadness in any face."""
FULL_WEIGHT_PEAK = 0.5
"""Expressions with weaker peaks are seen the less often: they should not move the border of neutral far."""

_RIGHT = (
    33, 133, 159, 145, 158, 153, 70, 63, 105, 66, 107, 46, 52, 55, 48, 98, 61, 40, 37, 91, 84, 80, 82, 88, 87,
    50, 205, 136, 172,
)  # fmt: skip
_LEFT = (
    263, 362, 386, 374, 385, 380, 300, 293, 334, 296, 336, 276, 282, 285, 278, 327, 291, 270, 267, 321, 314,
    310, 312, 318, 317, 280, 425, 365, 397,
)  # fmt: skip
_MIDDLE = (0, 13, 14, 17, 1, 4, 9, 168, 152, 199)
POINTS = (*_RIGHT, *_LEFT, *_MIDDLE)
"""Landmarks whose places an encoder learns to tell: lids, brows, nose, lips, cheeks and jaw."""
MIRRORED_POINTS = [POINTS.index(point) for point in (*_LEFT, *_RIGHT, *_MIDDLE)]
"""For each place in POINTS, the place of the same landmark on a mirrored face."""

_DETECTED = [
    ("box_px", pa.list_(pa.float32())),
    ("score", pa.float32()),
    ("landmarks_px", pa.list_(pa.float32())),
    ("blendshapes", pa.list_(pa.float32())),
    ("yaw_deg", pa.float32()),
    ("pitch_deg", pa.float32()),
    ("roll_deg", pa.float32()),
]


@dataclass(frozen=True)
class FaceSet:
    """Faces with their truth and what was measured on them; all arrays have one entry a face."""

    crops: UInt8[np.ndarray, "faces size size 3"]
    action_units: Float32[np.ndarray, "faces units"]
    """True intensities 0..1 in the order of facs.COLUMNS, NaN where unknown."""
    measured: Float32[np.ndarray, "faces units"]
    """What an estimator reads on the face, NaN where it gives nothing."""
    expressions: Int64[np.ndarray, " faces"]
    """Places in EXPRESSIONS."""
    pose_deg: Float32[np.ndarray, "faces 3"]
    """yaw, pitch, roll."""
    points: Float32[np.ndarray, "faces points 2"]
    """Where POINTS lie in the stored crops, -1..1 from edge to edge."""
    peaks: Float32[np.ndarray, " faces"]
    """The strongest intensity that was aimed at; 0 for neutral."""
    persons: Int64[np.ndarray, " faces"]

    def __len__(self) -> int:
        return len(self.expressions)

    @property
    def num_examples(self) -> int:
        """How many faces there are."""
        return len(self)

    @property
    def texts(self) -> list[None]:
        """Nobody has explained the faces: what is said of them is written from the truth."""
        return [None] * len(self)

    def take(self, indices: Int64[np.ndarray, " some"]) -> "FaceSet":
        """The faces at these places, read into memory."""
        return FaceSet(**{name: array[indices] for name, array in vars(self).items()})

    def sample(self, most: int | None) -> "FaceSet":
        """At most so many of the faces, drawn by chance; all of them for None."""
        return self.take(np.sort(np.random.default_rng(0).permutation(len(self))[:most]))

    def as_in_photographs(self) -> "FaceSet":
        """The faces as often as FREQUENCIES and FULL_WEIGHT_PEAK have them: neutral ones several times."""
        often = np.array([FREQUENCIES.get(expression, 1.0) for expression in EXPRESSIONS])[self.expressions]
        strong = np.where(self.peaks > 0, np.minimum(self.peaks / FULL_WEIGHT_PEAK, 1), 1)
        times = np.floor(often * strong + np.random.default_rng(0).random(len(self))).astype(int)
        return self.take(np.repeat(np.arange(len(self)), times))

    def split(self, held_out_rate: float = HELD_OUT_RATE) -> tuple["FaceSet", "FaceSet"]:
        """Divide by person, so that no held-out person was trained on: (trained on, held out)."""
        is_held = is_held_out(self.persons, held_out_rate)
        return self.take(np.flatnonzero(~is_held)), self.take(np.flatnonzero(is_held))


def is_held_out(
    persons: Int64[np.ndarray, " faces"], rate: float = HELD_OUT_RATE
) -> Bool[np.ndarray, " faces"]:
    """Whose faces no training sees: one person at least, chosen among all by chance."""
    people = np.unique(persons)
    held = np.random.default_rng(0).permutation(people)[: max(1, round(len(people) * rate))]
    return np.isin(persons, held)


def prepare(
    sources: Sequence[Path], target: Path, progress: Callable[[int, int], None] = lambda done, all: None
) -> int:
    """Find and crop every face of `sources` (pictures and faces.parquet) once, into `target`.

    Returns:
        How many faces were kept; a face the landmarker does not find is left out.

    Raises:
        CallerError: a folder holds no faces.parquet.
    """
    tables = [_truth(source) for source in sources]
    files = [
        source / file for source, t in zip(sources, tables, strict=True) for file in t["file"].to_pylist()
    ]
    table = pa.concat_tables(tables)
    truth = table.to_pylist()
    target.mkdir(parents=True, exist_ok=True)
    crops = np.lib.format.open_memmap(
        target / "crops.npy", mode="w+", dtype=np.uint8, shape=(len(truth), STORED_PX, STORED_PX, 3)
    )
    kept: list[dict[str, Any]] = []
    with Landmarker() as landmarker:
        for done, (file, row) in enumerate(zip(files, truth, strict=True), 1):
            found = _detect(landmarker, file)
            if found is not None:
                face, crops[len(kept)] = found
                kept.append({**row, "detected": _detected_row(face)})
            progress(done, len(truth))
    crops.flush()
    schema = table.schema.append(pa.field("detected", pa.struct(_DETECTED)))
    pq.write_table(pa.Table.from_pylist(kept, schema=schema), target / "faces.parquet")
    return len(kept)


def _truth(source: Path) -> pa.Table:
    path = source / "faces.parquet"
    if not path.exists():
        raise CallerError(f"{source} holds no faces.parquet: make it with `expllm faces --out {source}`")
    return pq.read_table(path).drop_columns(["landmarks_px"]).replace_schema_metadata()


def _detect(
    landmarker: Landmarker, file: Path
) -> tuple[faces.DetectedFace, UInt8[np.ndarray, "size size 3"]] | None:
    photograph = decode(file.read_bytes())
    if isinstance(photograph, Reject):
        raise CallerError(f"{file} cannot be read: {photograph}")
    found = landmarker.detect(photograph)
    if not found:
        return None
    face = max(found, key=lambda f: f.score)
    landmarks_px = face.landmarks_px * np.float32(photograph.scale)
    return face, faces.STANDARD.wide.out_of(photograph.pixels, landmarks_px)


def _points(landmarks_px: Float32[np.ndarray, "478 dims"]) -> Float32[np.ndarray, "points 2"]:
    turn, shift = faces.alignment(landmarks_px)
    places_px = (landmarks_px[list(POINTS), :2] @ (1, 1j) - shift) / turn
    places = (2 * places_px - complex(faces.CROP_PX, faces.CROP_PX)) / STORED_PX
    return np.stack([places.real, places.imag], axis=1)


def _detected_row(face: faces.DetectedFace) -> dict[str, Any]:
    return {**vars(face), "landmarks_px": face.landmarks_px.ravel(), "blendshapes": face.blendshapes}


def load(folder: Path, estimator: action_units.Estimator | None = None) -> FaceSet:
    """Read a prepared folder; crops are mapped, not read. The estimator, if given, measures every face.

    Raises:
        CallerError: the folder was not prepared.
    """
    parts = [_columns(batch, estimator) for batch in batches(folder)]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    crops = np.load(folder / "crops.npy", mmap_mode="r", allow_pickle=False)[: len(arrays["persons"])]
    return FaceSet(crops=crops, **arrays)


def batches(folder: Path) -> Iterator[list[dict[str, Any]]]:
    """The truth about the faces of a prepared folder, some at a time; `detected` reads what was detected.

    Raises:
        CallerError: the folder was not prepared.
    """
    if not (folder / "crops.npy").exists():
        raise CallerError(f"{folder} holds no prepared crops: run the preparation first")
    for batch in pq.ParquetFile(folder / "faces.parquet").iter_batches(batch_size=512):
        yield batch.to_pylist()


def _columns(rows: list[dict[str, Any]], estimator: action_units.Estimator | None) -> dict[str, np.ndarray]:
    angles = ("yaw_deg", "pitch_deg", "roll_deg")
    return {
        "action_units": action_units.to_array([row["action_units"] for row in rows]),
        "measured": action_units.to_array(
            [estimator.estimate(detected(row["detected"])) if estimator else {} for row in rows]
        ),
        "expressions": np.array([EXPRESSIONS.index(row["expression"]) for row in rows]),
        "pose_deg": np.array([[row[angle] for angle in angles] for row in rows], np.float32),
        "peaks": np.array([row["peak"] for row in rows], np.float32),
        "persons": np.array([row["person"] for row in rows]),
        "points": np.array([_points(detected(row["detected"]).landmarks_px) for row in rows], np.float32),
    }


def detected(row: Mapping[str, Any]) -> faces.DetectedFace:
    """The detected face as `prepare` stored it."""
    landmarks_px = np.array(row["landmarks_px"], np.float32).reshape(-1, 3)
    arrays = {"landmarks_px": landmarks_px, "blendshapes": np.array(row["blendshapes"], np.float32)}
    return faces.DetectedFace(**{**row, **arrays, "box_px": tuple(row["box_px"])})

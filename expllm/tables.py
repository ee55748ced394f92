"""One Arrow schema for each table that is kept: names, types and units of the columns.

What passes between the stages of one job, and is kept nowhere, has its schema beside the stage that makes it.
"""

import pyarrow as pa

from expllm.expressions import EXPRESSIONS
from expllm.facs import COLUMNS

ACTION_UNITS = pa.struct([(column, pa.float32()) for column in COLUMNS])
"""Intensity 0..1 of each action unit; null where it cannot be measured."""

EXPRESSION_SCORES = pa.struct([(str(expression), pa.float32()) for expression in EXPRESSIONS])
"""Calibrated probability of each expression; the eight sum to 1."""

OBSERVATION = pa.struct(
    [
        ("au", pa.int16()),
        ("side", pa.string()),
        ("strength", pa.string()),
        ("associated", pa.list_(pa.string())),
    ]
)
"""One movement as a text names it."""

BOX_PX = pa.list_(pa.float32())
"""left, top, right, bottom in pixels of the full-size photograph after the EXIF rotation."""

MANIFEST = pa.schema(
    [
        ("photo_uri", pa.string()),
        ("photo_etag", pa.string()),
        ("size_bytes", pa.int64()),
    ]
)
"""The sealed list of the photographs that a run answers for, sorted by URI."""

FACES = pa.schema(
    [
        ("file", pa.string()),
        ("face_index", pa.int16()),
        ("person", pa.int64()),
        ("expression", pa.string()),
        ("peak", pa.float32()),
        ("action_units", ACTION_UNITS),
        ("box_px", BOX_PX),
        ("landmarks_px", pa.list_(pa.list_(pa.float32()))),
        ("yaw_deg", pa.float32()),
        ("pitch_deg", pa.float32()),
        ("roll_deg", pa.float32()),
        ("skin", pa.string()),
        ("age", pa.string()),
        ("sex", pa.string()),
        ("seed", pa.int64()),
    ]
)
"""The truth about rendered faces: one row a face; `peak` is the largest intensity aimed at."""

PAIRS = pa.schema([*FACES, ("pair", pa.int32()), ("number", pa.int16()), ("is_present", pa.bool_())])
"""Rendered faces that differ in one action unit, whose number is told: two rows a pair, without and with."""

INSTRUCTIONS = pa.schema(
    [
        ("photo", pa.string()),
        ("photo_id", pa.string()),
        ("face_key", pa.string()),
        ("box_px", BOX_PX),
        ("person", pa.string()),
        ("split", pa.string()),
        ("expression", pa.string()),
        ("action_units", ACTION_UNITS),
        ("text", pa.string()),
        ("reject_reason", pa.string()),
        ("faults", pa.list_(pa.string())),
        ("rounds", pa.int8()),
        ("guesses", pa.list_(pa.string())),
        ("is_verified", pa.bool_()),
        ("calls", pa.int32()),
        ("prompt_tokens", pa.int32()),
        ("generated_tokens", pa.int32()),
        ("cost", pa.float64()),
        ("teacher_id", pa.string()),
        ("measured_by", pa.string()),
        ("run_id", pa.string()),
    ]
)
"""Labelled faces with the chains of thought that a teacher wrote about them: one row a face.

Unique key: face_key, over photograph, box and label; of rows with the same key, from runs that tried a face
again, the last one counts, and at most that one has a text. `text` is a chain as cot.render writes it, null
where there is a `reject_reason`. `box_px` is the detected one, `action_units` the measured ones.
`guesses` has the blind reader's guess in each round, null where there was none. `cost` is in the currency of
the prices, null where the teacher has none; tokens and cost count calls that were answered from the cache.
"""

EXAMPLES = pa.schema(
    [
        ("face_key", pa.string()),
        ("photo", pa.string()),
        ("photo_id", pa.string()),
        ("person", pa.string()),
        ("expression", pa.string()),
        ("crop", pa.binary()),
        ("crop_px", pa.int32()),
        ("measured", ACTION_UNITS),
        ("action_units", ACTION_UNITS),
        ("text", pa.string()),
    ]
)
"""Faces that a training sees, found, cut out and measured: one row a face, as often as it is seen in a pass.

`crop` is crop_px x crop_px x 3 bytes, with the margin that faces.Cut.wide gives it. `measured` are the action
units as labelling measures them, `action_units` the true ones, null where nobody knows them; `text` is the
chain of thought that the face is explained by, as cot.render writes it, null where none was written.
"""

LABELS = pa.schema(
    [
        ("photo_uri", pa.string()),
        ("photo_id", pa.string()),
        ("photo_etag", pa.string()),
        ("face_index", pa.int16()),
        ("face_id", pa.string()),
        ("box_px", BOX_PX),
        ("detection_score", pa.float32()),
        ("yaw_deg", pa.float32()),
        ("pitch_deg", pa.float32()),
        ("roll_deg", pa.float32()),
        ("detector", pa.string()),
        ("detector_scores", EXPRESSION_SCORES),
        ("action_units", ACTION_UNITS),
        ("key_observations", pa.string()),
        ("interpretation", pa.string()),
        ("conclusion", pa.string()),
        ("observations", pa.list_(OBSERVATION)),
        ("dominant", pa.string()),
        ("secondary", pa.string()),
        ("expression", pa.string()),
        ("confidence", pa.float32()),
        ("expression_scores", EXPRESSION_SCORES),
        ("label_only_agrees", pa.bool_()),
        ("au_precision", pa.float32()),
        ("au_recall", pa.float32()),
        ("outcome", pa.string()),
        ("reject_reason", pa.string()),
        ("attempts", pa.int8()),
        ("prompt_tokens", pa.int32()),
        ("generated_tokens", pa.int32()),
        ("model_id", pa.string()),
        ("prompt_id", pa.string()),
        ("run_id", pa.string()),
        ("labelled_at", pa.timestamp("us", tz="UTC")),
        ("num_faces", pa.int16()),
    ]
)
"""The labels table: one row a face, and one row for each photograph that has none.

Unique key: (photo_uri, face_index); face_index and face_id are null where there is no face. Every row says
how many faces its photograph has, 0 where there is none or it was rejected: so a row that is lost is missed.
"""

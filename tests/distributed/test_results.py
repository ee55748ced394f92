import json
import random

import pytest

from expllm import cot
from expllm.distributed.results import EXPLAIN, LABEL, RESULTS, Gathering
from expllm.expressions import Expression
from expllm.prompt import MAX_ANSWER_TOKENS

TEXT = cot.render(
    cot.ChainOfThought(
        "lip corner puller", "It means happiness.", "The person is happy.", Expression.HAPPINESS
    )
)
SURE = json.dumps({"happiness": -0.1, "anger": -3.0})


def result(uri, *, faces=0, face=0, question="", shard="s", **more):
    known = {"photo_uri": uri, "photo_etag": f"tag of {uri}", "photo_id": "p"}
    if faces:
        known |= {"face_index": face, "face_id": f"p-{face}", "action_units": {"au12": 0.8}}
    return {
        "shard_id": shard,
        "photo_uri": uri,
        "num_faces": faces,
        "face_index": face,
        "known": json.dumps(known | more.pop("known", {})) if question != LABEL else "",
        "question": question,
        "text": TEXT,
        "prompt_tokens": 90,
        "generated_tokens": 40,
        "label_logprobs": SURE if question == LABEL else "{}",
        "error": "",
        **more,
    }


def face(uri, index=0, faces=1, *, explain=None, label=None):
    place = {"faces": faces, "face": index}
    return [
        result(uri, question=EXPLAIN, **place, **(explain or {})),
        result(uri, question=LABEL, **place, **(label or {})),
    ]


def gather(results, num_photographs):
    gathering = Gathering({"s": num_photographs}, temperature=1.0)
    given = [rows for one in results if (rows := gathering.add(one)) is not None]
    assert gathering.num_unfinished == 1 - len(given)
    return given[0] if given else None


def test_a_result_has_the_columns_of_its_schema():
    assert list(result("a")) == RESULTS.names


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_results_does_not_matter(seed):
    results = [*face("a", 0, 2), *face("a", 1, 2), result("b"), *face("c")]
    random.Random(seed).shuffle(results)
    rows = gather(results, num_photographs=3)
    assert [(row["photo_uri"], row["face_index"]) for row in rows] == [
        ("a", 0),
        ("a", 1),
        ("b", None),
        ("c", 0),
    ]


def test_a_shard_is_not_given_before_its_last_answer():
    assert gather([*face("a"), face("b")[0]], num_photographs=2) is None


def test_a_result_that_comes_twice_counts_once():
    assert len(gather([*face("a"), *face("a"), result("b"), result("b")], num_photographs=2)) == 2


def test_both_answers_about_a_face_make_its_row():
    (row,) = gather(face("a"), num_photographs=1)
    assert (row["outcome"], row["expression"], row["label_only_agrees"]) == ("labelled", "happiness", True)
    assert row["confidence"] == pytest.approx(0.948, abs=1e-3)


def test_copies_get_the_rows_of_the_photograph_they_are_copies_of():
    results = [result("copy", known={"copy_of": "a"}), *face("a", 0, 2), *face("a", 1, 2)]
    rows = gather(results, num_photographs=2)
    assert [row["photo_uri"] for row in rows] == ["a", "a", "copy", "copy"]
    assert rows[2] == rows[0] | {"photo_uri": "copy", "photo_etag": "tag of copy"}


def test_a_copy_of_a_photograph_that_cannot_be_used_cannot_be_used():
    rows = gather([result("a", known={"reject": "corrupt"}), result("b", known={"copy_of": "a"})], 2)
    assert [(row["outcome"], row["reject_reason"]) for row in rows] == [("rejected", "corrupt")] * 2


@pytest.mark.parametrize("failed", ["explain", "label"])
def test_an_answer_that_failed_rejects_its_face_alone(failed):
    rows = gather([*face("a", 0, 2, **{failed: {"error": "ValueError"}}), *face("a", 1, 2)], 1)
    assert [row["reject_reason"] for row in rows] == ["generation_failed", None]


def test_a_text_at_its_limit_is_rejected_with_its_measurements():
    (row,) = gather(face("a", explain={"generated_tokens": MAX_ANSWER_TOKENS}), num_photographs=1)
    assert (row["reject_reason"], row["action_units"]) == ("text_truncated", {"au12": 0.8})


def test_every_row_says_how_many_faces_its_photograph_has():
    copy = result("d", known={"copy_of": "a"})
    rows = gather([*face("a", 0, 2), *face("a", 1, 2), result("b"), copy], num_photographs=3)
    assert [(row["photo_uri"], row["num_faces"]) for row in rows] == [
        ("a", 2),
        ("a", 2),
        ("b", 0),
        ("d", 2),
        ("d", 2),
    ]


def test_whole_photographs_are_counted_before_their_shard_is():
    gathering = Gathering({"s": 3}, temperature=1.0)
    for one in (*face("a", 0, 2), result("b"), *face("a", 1, 2)[:1]):
        gathering.add(one)
    assert (gathering.num_photographs, gathering.num_faces) == (1, 0)
    gathering.add(face("a", 1, 2)[1])
    assert (gathering.num_photographs, gathering.num_faces) == (2, 2)

"""What a label run decides without a cluster: when it is refused, when it fails, what it says."""

import io

import pyarrow as pa
import pytest

from expllm.distributed import label
from expllm.errors import CallerError, RunError
from expllm.tables import MANIFEST

PHOTOGRAPHS = pa.Table.from_pylist(
    [{"photo_uri": f"s3://photos/{n}.jpg", "photo_etag": "1", "size_bytes": 1} for n in range(3)],
    schema=MANIFEST,
)


def summary(*, labelled=0, rejected=0, rejected_again=0, num_listed=1000):
    ended = [("labelled", None, 1)] * labelled
    ended += [("rejected", "corrupt", 1)] * rejected
    ended += [("rejected", "unreadable_object", 2)] * rejected_again
    found = label.Summary("r", num_listed, num_pending=len(ended))
    blank = dict.fromkeys(("face_index", "expression", "prompt_tokens", "generated_tokens"))
    found.add(
        [
            {**blank, "photo_uri": str(n), "outcome": outcome, "reject_reason": reason, "attempts": attempts}
            for n, (outcome, reason, attempts) in enumerate(ended)
        ]
    )
    return found


def test_too_many_rejects_fail_a_run():
    with pytest.raises(RunError, match=r"^3 of 4 rows were rejected, more than .* 0.7: corrupt 3$"):
        summary(labelled=1, rejected=3).judge(0.7)


def test_bad_photographs_tried_again_are_no_new_failure():
    summary(rejected_again=5).judge(0.1)
    summary(labelled=10, rejected=1, rejected_again=90).judge(0.1)


def test_a_run_in_which_everything_fails_again_fails_again():
    with pytest.raises(RunError, match="900 of 1000 rows"):
        summary(rejected_again=900).judge(0.5)


def test_a_run_with_nothing_to_do_does_not_call_rejects_labelled():
    assert summary(num_listed=7).line == "nothing to do: all 7 photographs have their rows already"


def test_one_photograph_that_is_denied_does_not_refuse_the_input(stubbed_store):
    stubbed_store.add_client_error("get_object", "AccessDenied")
    stubbed_store.add_response("get_object", {"Body": io.BytesIO(b"x")})
    label._check_readable(PHOTOGRAPHS)


def test_an_input_of_which_nothing_may_be_read_is_refused(stubbed_store):
    for code in ("AccessDenied", "NoSuchKey", "AccessDenied"):
        stubbed_store.add_client_error("get_object", code)
    with pytest.raises(CallerError, match="access denied"):
        label._check_readable(PHOTOGRAPHS)

"""A face's row names what found and measured it, down to the files that decide it."""

import re
import shutil

import pytest

from expllm import action_units
from expllm.models import face_reader, landmarker


def test_the_detector_is_named_with_a_digest() -> None:
    assert re.fullmatch("mediapipe-face-landmarker-[0-9a-f]{8}", face_reader.DETECTOR)


@pytest.mark.parametrize("module", [action_units, landmarker])
def test_the_digest_changes_with_the_weights_and_not_with_their_place(
    module, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copy(module.BUNDLED, tmp_path / "copy")
    monkeypatch.setattr(module, "BUNDLED", copy)
    assert face_reader.DETECTOR.endswith(face_reader._digest())
    with copy.open("ab") as stream:
        stream.write(b"\0")
    assert not face_reader.DETECTOR.endswith(face_reader._digest())

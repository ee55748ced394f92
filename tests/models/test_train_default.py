"""The stages that train the default model tell a mistake in one line, as every other command."""

import subprocess
import sys


def test_a_folder_without_faces_is_one_line_and_exit_code_2(tmp_path):
    words = [sys.executable, "-m", "jobs.train_default", "prepare", str(tmp_path), str(tmp_path / "out")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and ended.stderr.startswith("expllm: ")
    assert "faces.parquet" in ended.stderr

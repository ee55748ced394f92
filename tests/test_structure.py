"""What the layout promises: who may import whom, and that importing does nothing."""

import subprocess
import sys

import pytest

HEAVY = ("ray", "torch", "vllm", "transformers", "mediapipe", "numba")
CORE = (
    "action_units chat checksums config cot datasets errors evaluation.endpoint evaluation.page "
    "exp_cot.asked exp_cot.endpoint exp_cot.lessons exp_cot.report exp_cot.written expressions "
    "faces facs feafa gate labels manifest metrics mirroring photographs planning promoted prompt report sft "
    "shuffling tables train_config writer"
).split()


@pytest.fixture(scope="module")
def loaded_by_the_core() -> set[str]:
    imports = "; ".join(f"import expllm.{module}" for module in CORE)
    program = f"import sys; {imports}; print(' '.join(m.split('.')[0] for m in sys.modules))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(printed.stdout.split())


@pytest.mark.parametrize("package", HEAVY)
def test_the_core_loads_no_engine(package: str, loaded_by_the_core: set[str]) -> None:
    assert package not in loaded_by_the_core


def test_help_needs_no_engine_and_names_every_command() -> None:
    help_text = subprocess.run(
        [
            sys.executable,
            "-c",
            "import expllm.cli; expllm.cli.app()",
            "--help",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(command in help_text for command in ("demo", "label", "verify", "report", "faces", "serve"))

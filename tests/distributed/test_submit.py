"""`ray job submit` with the project's wheel, on a cluster of its own that asks for a token."""

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from expllm.distributed.verify import verify

pytestmark = pytest.mark.timeout(1200)

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The project's wheel, built from a copy so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("expllm", "jobs", "serve", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(folder)], check=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist")]
    subprocess.run([*build, str(folder)], check=True, capture_output=True)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, take_ports):
    """A Ray head on the loopback interface; gives the environment that leads to it."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "token").write_text(secrets.token_hex(32))
    port, dashboard, client, agent, agent_grpc, metrics = take_ports(6)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),  # as an image has it
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # nothing is left to be waited for
        "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    head = [
        RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=8",
        "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
        f"--port={port}", f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-agent-grpc-port={agent_grpc}", f"--metrics-export-port={metrics}",
        "--object-store-memory=500000000",
    ]  # fmt: skip
    started = {**environment}
    del started["RAY_ADDRESS"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(head, env=started, stdout=log, stderr=log)
        try:
            _wait_for_dashboard(environment)
            yield environment
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_dashboard(environment):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        asked = subprocess.run([RAY, "job", "list"], env=environment, capture_output=True, check=False)
        if asked.returncode == 0:
            return
        time.sleep(1)
    raise RuntimeError(f"Ray did not start: {asked.stderr.decode()}")


def submit(cluster, wheel, *command):
    shipped = yaml.safe_load((ROOT / "cluster" / "runtime_env.yaml").read_text())
    runtime_env = json.dumps({**shipped, "py_modules": [str(wheel)]})
    job = [RAY, "job", "submit", "--runtime-env-json", runtime_env, "--", "python", *command]
    return subprocess.run(job, env=cluster, capture_output=True, text=True, check=False, cwd="/")


def test_a_job_runs_the_code_of_the_wheel(cluster, wheel):
    done = submit(cluster, wheel, "-c", "import expllm; print('code at', expllm.__file__)")
    printed = [line for line in done.stdout.splitlines() if line.startswith("code at ")]
    assert len(printed) == 1 and "py_modules_files" in printed[0], done.stdout


def test_the_label_job_runs_from_the_wheel(cluster, wheel, tiny_checkpoint, tmp_path):
    photographs = ROOT / "expllm" / "data" / "demo" / "01_happiness.jpg"
    done = submit(
        cluster, wheel, "-m", "jobs.label", str(photographs), str(tmp_path), "--model", str(tiny_checkpoint),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 photographs, 1 faces: 1 labelled" in done.stdout
    assert verify(str(tmp_path)).num_photographs == 1


def test_a_callers_mistake_in_a_job_is_one_line(cluster, wheel, tmp_path):
    done = submit(cluster, wheel, "-m", "jobs.label", "/no/such/folder", str(tmp_path))
    assert done.returncode != 0
    assert "expllm: /no/such/folder: there is no such file or folder; check INPUT" in done.stdout
    assert "Traceback" not in done.stdout

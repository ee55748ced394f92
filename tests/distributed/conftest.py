"""What tests of the distributed part share: an S3 server and a local Ray a session, made on first use."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from botocore.stub import Stubber

_START_TIMEOUT_S = 60


@dataclass(frozen=True)
class Store:
    """A running S3 server of the tests' own, on the loopback interface."""

    endpoint: str
    access_key: str = "testkey"
    secret_key: str = "testsecret"
    reader: tuple[str, str] = ("readkey", "readsecret")
    """Credentials that may read the bucket `photos` and write nothing."""

    @property
    def settings(self) -> dict[str, str]:
        """The AWS settings that lead to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below the range that outgoing connections take."""
    found = []
    for port in range(20000 + os.getpid() % 8000, 32000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


@pytest.fixture(scope="session")
def take_ports() -> Callable[[int], list[int]]:
    """A function that finds so many free ports."""
    return free_ports


def end(process: subprocess.Popen[bytes]) -> None:
    """End one process that a test has started; its data go with the session, so at once."""
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS with a bucket `photos`; nothing outside this session sees it."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    ports = free_ports(8)
    store = Store(endpoint=f"http://127.0.0.1:{ports[0]}")
    (folder / "s3.json").write_text(json.dumps({"identities": _identities(store)}))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(_weed(folder, ports), stdout=log, stderr=log)
    try:
        _wait_for(store.endpoint, server)
        _make_bucket(store)
        yield store
    finally:
        end(server)


@pytest.fixture
def s3(s3_server: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The S3 server, with this process's AWS settings leading to it."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_server.settings.items():
        monkeypatch.setenv(name, value)
    _forget_client()
    yield s3_server
    _forget_client()


@pytest.fixture
def stubbed_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """A store whose answers a test gives itself."""
    from expllm.distributed import storage

    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
    _forget_client()
    with Stubber(storage.client()) as stubber:
        yield stubber
    _forget_client()


@pytest.fixture(scope="session")
def ray_cluster(s3_server: Store) -> Iterator[None]:
    """One Ray on this machine, whose workers find the S3 server."""
    import ray

    from expllm.distributed import cluster

    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            **s3_server.settings,
            "OMP_NUM_THREADS": "2",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        }.items():
            environment.setenv(name, value)
        cluster.start_local()
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def local_ray(ray_cluster: None) -> Iterator[str]:
    """The same Ray with Serve; gives the address its Serve answers at."""
    from ray import serve

    (port,) = free_ports(1)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


def _forget_client() -> None:
    from expllm.distributed import storage

    storage.session.cache_clear()
    storage.client.cache_clear()


def _identities(store: Store) -> list[dict[str, object]]:
    def identity(name: str, key: str, secret: str, *actions: str) -> dict[str, object]:
        return {
            "name": name,
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": list(actions),
        }

    return [
        identity("owner", store.access_key, store.secret_key, "Admin", "Read", "Write", "List"),
        identity("reader", *store.reader, "Read:photos", "List:photos"),
    ]


def _weed(folder: Path, ports: list[int]) -> list[str]:
    (folder / "data").mkdir()
    names = ("s3", "master", "volume", "filer")
    listen = [f"-{name}.port={port}" for name, port in zip(names, ports, strict=False)]
    listen += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[4:], strict=True)]
    return [
        str(Path(sys.executable).with_name("weed")), "server", "-filer", "-s3",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *listen, "-s3.port.iceberg=0", "-s3.port.lance=0",
        f"-dir={folder / 'data'}", f"-s3.config={folder / 's3.json'}", "-s3.autoCreateBucket=false",
        f"-filer.localSocket={folder / 'filer.sock'}", f"-s3.localSocket={folder / 's3.sock'}",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=30",
    ]  # fmt: skip


def _wait_for(endpoint: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urlopen(endpoint, timeout=2)
        except HTTPError:
            return  # it answers, and refuses who has no key
        except (URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError("SeaweedFS did not start")


def _make_bucket(store: Store) -> None:
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name="us-east-1",
    )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:  # the gateway answers before its volumes are ready
        try:
            client.create_bucket(Bucket="photos")
            client.put_object(Bucket="photos", Key="ready", Body=b"1")
            return
        except ClientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


@pytest.fixture
def chatty(endpoint: Any) -> Any:
    """The chat endpoint as a teacher: it repeats the movements, and reads happiness out of anything."""

    def answer(body: dict[str, Any]) -> Any:
        task, asked = body["messages"][0]["content"], body["messages"][-1]["content"]
        if "cannot see" in task:
            return endpoint.said("Happiness")
        if "into one form" in task:
            described = asked.partition("\n\n")[0]
            return endpoint.said(
                f"{described}\n**Conclusion:** The face shows happiness.\n**Expression:** Happiness"
            )
        seen = asked.rpartition("Movements: ")[2]
        return endpoint.said(
            f"**Key Observations:** {seen}\n**Overall Emotional Interpretation:** It points to happiness."
        )

    endpoint.answer = answer
    return endpoint

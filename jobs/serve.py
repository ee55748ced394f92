"""`python -m jobs.serve`: answer POST /v1/expressions over HTTP."""

import ipaddress
import os
import time
from pathlib import Path
from typing import Annotated

from ray import serve as ray_serve
from typer import Argument, Option

from expllm.cli import run_command
from expllm.config import LabelConfig, ServiceConfig
from expllm.distributed import cluster
from expllm.distributed.serve_engine import start_engine
from expllm.errors import CallerError
from expllm.models.checkpoint import resolve
from serve.api import digest
from serve.app import build


def main(
    config: Annotated[Path | None, Argument(help="TOML file; jobs/serve.toml names every key.")] = None,
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    set_: Annotated[list[str] | None, Option("--set", help="key=value, over the file.")] = None,
) -> None:
    """Answer POST /v1/expressions; API keys come from EXPLLM_API_KEYS or the configured file."""
    settings = ServiceConfig.read(config, set_ or ())
    keys = api_keys(settings)
    if not keys and not _is_loopback(host):
        raise CallerError(f"--host {host} needs API keys: set EXPLLM_API_KEYS, or listen on 127.0.0.1")
    with cluster.connected(), cluster.naming():
        ray_serve.start(http_options={"host": host, "port": port})
        start_engine(_engine_config(settings), resolve(settings.model).model_id)
        ray_serve.run(build(settings, [digest(key) for key in keys]), name="expllm")
        print(f"listening on http://{host}:{port}/v1/expressions; end with Ctrl-C", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            ray_serve.shutdown()


def _engine_config(settings: ServiceConfig) -> LabelConfig:
    return LabelConfig(
        model=settings.model, engine_workers=settings.engine_replicas, engine_kwargs=settings.engine_kwargs
    )


def api_keys(settings: ServiceConfig) -> list[str]:
    """The keys of EXPLLM_API_KEYS, divided by commas, and of the configured file, one a line."""
    given = os.environ.get("EXPLLM_API_KEYS", "").split(",")
    if settings.api_keys_file is not None:
        try:
            given += settings.api_keys_file.read_text().splitlines()
        except OSError as error:
            raise CallerError(f"{settings.api_keys_file}: cannot be read; check api_keys_file") from error
    return [key.strip() for key in given if key.strip()]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    run_command(main)

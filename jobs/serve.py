"""`python -m jobs.serve`: answer POST /v1/expressions over HTTP."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from expllm.cli import run_command
from expllm.config import ServiceConfig
from expllm.distributed import cluster
from expllm.distributed.serve_engine import start_engine
from expllm.models.checkpoint import fixed, resolve
from serve import endpoint
from serve.app import build
from serve.keys import api_keys, digest


def main(
    config: Annotated[Path | None, Argument(help="TOML file; jobs/serve.toml names every key.")] = None,
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    set_: Annotated[list[str] | None, Option("--set", help="key=value, over the file.")] = None,
) -> None:
    """Answer POST /v1/expressions; API keys come from EXPLLM_API_KEYS or the configured file."""
    settings = ServiceConfig.read(config, set_ or ())
    digests = [digest(key) for key in api_keys(settings, host)]
    # What the name stands for now, for all that starts later; the service looks for what it stands for then.
    pinned = settings.model_copy(update={"model": fixed(settings.model)})
    watched = settings.model if settings.adapters else None
    model_id = resolve(pinned.model).model_id
    application = build(pinned, digests, watched=watched)
    with cluster.connected(), cluster.naming(), endpoint.listening(host, port) as url:
        start_engine(pinned, model_id)
        with endpoint.running(application, "expllm"), suppress(KeyboardInterrupt):
            print(f"listening on {url}/v1/expressions; end with Ctrl-C", flush=True)
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    run_command(main)

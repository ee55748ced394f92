"""An address -> Ray Serve listening there; a Serve that ran before stays as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.context import _get_global_client as client  # the public status does not tell the address

from expllm.errors import CallerError


@contextmanager
def listening(host: str, port: int) -> Iterator[str]:
    """Have Serve listen there and give its URL; end Serve afterwards if it was started here.

    Raises:
        CallerError: Serve runs on this cluster already and does not listen there.
    """
    is_ours = client(raise_if_no_controller_running=False) is None
    try:
        serve.start(http_options={"host": host, "port": port})  # which a running Serve ignores
        found = client()
        location = ray.get(found._controller.get_proxy_location.remote())
        check_address(found.http_config, location, host, port)
        yield found.root_url
    finally:
        if is_ours:
            serve.shutdown()


@contextmanager
def running(application: serve.Application, name: str) -> Iterator[None]:
    """Run one application beside those that run already, and delete it alone afterwards.

    Raises:
        CallerError: an application of this name runs already; it is not replaced.
    """
    if name in serve.status().applications:
        raise CallerError(
            f"the Serve application {name} runs on this cluster already: end the `expllm serve` that started "
            "it, or `serve shutdown` where that one was killed"
        )
    try:
        serve.run(application, name=name)
        yield
    finally:
        serve.delete(name)


def check_address(found: HTTPOptions, location: ProxyLocation, host: str, port: int) -> None:
    """Refuse a Serve that listens elsewhere, or nowhere: it keeps the address it was started with.

    Raises:
        CallerError: what it listens on, and how to have both agree.
    """
    if ProxyLocation.Disabled in (location, found.location) or found.host is None:
        raise CallerError(
            "Ray Serve runs on this cluster without HTTP: end it with `serve shutdown` when no job needs it, "
            "and start this service first"
        )
    if (found.host, found.port) != (host, port):
        raise CallerError(
            f"Ray Serve runs on this cluster and listens on {found.host}, port {found.port}: "
            f"give --host {found.host} --port {found.port}, or end it with `serve shutdown`"
        )

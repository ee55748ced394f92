"""API keys: where they come from, and which requests hold one."""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Sequence

from expllm.config import ServiceConfig
from expllm.errors import CallerError


def api_keys(settings: ServiceConfig, host: str) -> list[str]:
    """The keys of EXPLLM_API_KEYS, divided by commas, and of the configured file, one a line.

    Raises:
        CallerError: the file cannot be read, or there is no key and `host` is not this machine alone.
    """
    given = os.environ.get("EXPLLM_API_KEYS", "").split(",")
    if settings.api_keys_file is not None:
        try:
            given += settings.api_keys_file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CallerError(f"{settings.api_keys_file}: cannot be read; check api_keys_file") from error
    keys = [key.strip() for key in given if key.strip()]
    if not keys and not _is_loopback(host):
        raise CallerError(f"--host {host} needs API keys: set EXPLLM_API_KEYS, or listen on 127.0.0.1")
    return keys


def digest(key: str) -> str:
    """What replicas hold of an API key: its SHA-256, so that no key stands in the cluster's state."""
    return hashlib.sha256(key.strip().encode()).hexdigest()


def is_allowed(authorization: str | None, digests: Sequence[str]) -> bool:
    """Whether a request's Authorization header holds one of the keys; without keys, everyone may ask."""
    if not digests:
        return True
    scheme, _, key = (authorization or "").partition(" ")
    matches = [hmac.compare_digest(digest(key), known) for known in digests]
    return scheme.lower() == "bearer" and any(matches)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

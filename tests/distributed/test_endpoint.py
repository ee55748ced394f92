"""Where the service listens, and whom its engine answers for: what needs no running Ray."""

import pytest
from ray.serve.config import HTTPOptions, ProxyLocation

from expllm.distributed.serve_engine import check_model
from expllm.errors import CallerError, RunError
from jobs.serve import main
from serve.endpoint import check_address


def test_a_serve_at_the_asked_address_is_used():
    check_address(HTTPOptions(host="127.0.0.1", port=8000), ProxyLocation.EveryNode, "127.0.0.1", 8000)


@pytest.mark.parametrize(("host", "port"), [("0.0.0.0", 8000), ("127.0.0.1", 8001)])
def test_a_serve_at_another_address_is_named(host, port):
    found = HTTPOptions(host=host, port=port)
    with pytest.raises(CallerError, match=rf"give --host {host} --port {port}"):
        check_address(found, ProxyLocation.HeadOnly, "127.0.0.1", 8000)


@pytest.mark.parametrize("host", ["127.0.0.1", None])
def test_a_serve_without_http_is_refused(host):
    with pytest.raises(CallerError, match="without HTTP"):
        check_address(HTTPOptions(host=host), ProxyLocation.Disabled, "127.0.0.1", 8000)


def test_an_engine_answers_for_its_own_model_alone():
    check_model("a", "a")
    with pytest.raises(RunError, match="answers with model b now, not a"):
        check_model("b", "a")


def test_a_public_service_without_keys_does_not_start(monkeypatch):
    monkeypatch.delenv("EXPLLM_API_KEYS", raising=False)
    with pytest.raises(CallerError, match=r"--host 0\.0\.0\.0 needs API keys"):
        main(host="0.0.0.0")

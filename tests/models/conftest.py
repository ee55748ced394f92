"""The published ExpLLM at a tiny size, for the tests of its import."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The module published_reference.py; tests are no package, so it is loaded by its path."""
    spec = spec_from_file_location("published_reference", Path(__file__).with_name("published_reference.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

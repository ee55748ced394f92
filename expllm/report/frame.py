"""What all pages share: how their templates are read, and the style."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def environment(package: str, **filters: Callable[..., Any]) -> Environment:
    """Read the templates of a package, and this one's beside them: what they are given is escaped."""
    shared = PackageLoader("expllm.report", ".")
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), shared]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= filters
    return found


def style() -> str:
    """The style sheet; a page may add to it."""
    return files("expllm.report").joinpath("report.css").read_text(encoding="utf-8")

"""Turns the labels table and what its runs left into one self-contained HTML page."""

from expllm.report.page import Run, render
from expllm.report.tally import Tally, tally

__all__ = ["Run", "Tally", "render", "tally"]

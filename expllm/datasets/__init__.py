"""Data sets of labelled faces, whatever they look like on disk: `datasets.open(source)`."""

from expllm.datasets.labelled import SPLITS, Dataset, LabelledFace, check_people
from expllm.datasets.labels_table import of_labels
from expllm.datasets.opening import open

__all__ = ["SPLITS", "Dataset", "LabelledFace", "check_people", "of_labels", "open"]

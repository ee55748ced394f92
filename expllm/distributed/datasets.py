"""Data sets as jobs open them: also the labels table of `expllm label`, here or in S3."""

from collections.abc import Iterator, Mapping
from typing import Any

from deltalake import DeltaTable

from expllm import datasets
from expllm.datasets import Dataset, labels_table
from expllm.distributed import storage, table


def open(source: str, *, split: str | None = None) -> Dataset:
    """Read a data set: a labels table, by its output or its own folder, or what datasets.open reads.

    Raises:
        CallerError: no data set is there, part of it is missing, or it holds no face that can be used.
    """
    labels = _table(source)
    if labels is None:
        return datasets.open(source, split=split)
    return datasets.of_labels(source, _rows(labels), split=split)


def _table(source: str) -> DeltaTable | None:
    output = source.rstrip("/").removesuffix("/labels")
    if not storage.is_s3(source) and not storage.local_path(table.uri(output)).is_dir():
        return None
    return table.open_table(output)


def _rows(labels: DeltaTable) -> Iterator[Mapping[str, Any]]:
    for batch in table.scan(labels, labels_table.COLUMNS):
        yield from batch.to_pylist()

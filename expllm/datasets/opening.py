"""A path -> the data set that lies there: the adapters, and which one fits."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expllm.datasets import affectnet, box_lists, fer2013, folders, lists, published, raf_db
from expllm.datasets.labelled import Dataset, Row, check_split, gather
from expllm.datasets.vocabularies import NUMBERED
from expllm.errors import CallerError


@dataclass(frozen=True)
class _Adapter:
    name: str
    find: Callable[[Path], Any]
    """What the adapter can read of what lies at a path; nothing true where it cannot."""
    read: Callable[[Any], Iterator[Row]]


_ADAPTERS = (
    _Adapter("RAF-DB", raf_db.find, raf_db.read),
    _Adapter("rendered faces", lists.rendered, lists.read),
    _Adapter("list", lists.list_of, lists.read),
    _Adapter("AffectNet", affectnet.official_lists, affectnet.read_official),
    _Adapter("AffectNet", affectnet.kaggle_lists, affectnet.read_kaggle),
    _Adapter("FERPlus", fer2013.votes_list, fer2013.read_ferplus),
    _Adapter("FER2013", fer2013.pixel_list, fer2013.read_fer2013),
    _Adapter("ExpLLM list", published.list_of, published.read_list),
    _Adapter("ExpLLM annotation", published.annotation_of, published.read_annotation),
    _Adapter("box list", box_lists.list_of, box_lists.read),
    _Adapter("class folders", folders.classes_of, folders.read_classes),
    _Adapter("named pictures", folders.named_pictures_of, folders.read_named),
)
"""In the order in which they are asked: a data set's own files go before the looks of folders."""


def open(source: str, *, split: str | None = None) -> Dataset:
    """Read a data set, whichever it is; docs/datasets.md shows what each looks like.

    A row that cannot be used is counted, and nothing is guessed. A labels table is opened by
    expllm.distributed.datasets, which reads everything else through here.

    Args:
        source: A folder or file. A folder whose classes are numbers needs the data set's name before it:
            `affectnet:DIR`, `fer2013:DIR` or `raf-db:DIR`.
        split: One of SPLITS; None for all.

    Raises:
        CallerError: no data set is there, part of it is missing, or it holds no face that can be used.
    """
    check_split(split)
    try:
        name, rows = _found(source)
        return gather(name, source, rows, split)
    except OSError as error:
        raise CallerError(
            f"{error.filename or source}: cannot be read ({error.strerror or error})"
        ) from error


def _found(source: str) -> tuple[str, Iterator[Row]]:
    numbered, _, folder = source.partition(":")
    if numbered in NUMBERED and folder:
        return numbered, folders.read_numbered(_absolute(folder), NUMBERED[numbered])
    if "://" in source:
        raise CallerError(f"{source}: copy the list to a folder; the pictures that it names may stay there")
    path = _absolute(source)
    if not path.exists():
        raise CallerError(f"{source}: there is no such file or folder")
    for adapter in _ADAPTERS:
        if found := adapter.find(path):
            return adapter.name, adapter.read(found)
    raise CallerError(f"{source}: {_unknown(path)}")


def _absolute(source: str) -> Path:
    return Path(os.path.abspath(source))  # noqa: PTH100 (resolve() would follow links)


def _unknown(path: Path) -> str:
    if path.is_dir() and folders.has_numbers(path):
        known = ", ".join(f"{name}:{path}" for name in NUMBERED)
        return f"its classes are numbers; say whose they are: {known}"
    if not path.is_dir() and (held := lists.columns(path)):
        needed = " and ".join(lists.NEEDED)
        return f"its columns ({', '.join(held[:12])}) are no known data set's; a list needs {needed}"
    return "is no data set that is known here; docs/datasets.md shows what each looks like"

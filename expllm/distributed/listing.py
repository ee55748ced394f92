"""INPUT -> the listed photographs: a folder, file, prefix, glob, tar file, list of URIs or inventory."""

import glob
import io
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from expllm.distributed import inventory, storage
from expllm.distributed.originals import SUFFIXES, is_archive, is_photograph, members
from expllm.distributed.storage import StoredObject
from expllm.distributed.store_errors import ObjectFailed, ObjectGone
from expllm.errors import CallerError
from expllm.tables import MANIFEST

_LISTS = frozenset({".txt", ".csv", ".parquet"})
_URI_COLUMNS = ("photo_uri", "uri", "path", "file")
_BATCH = 65_536
_STAT_THREADS = 32


def list_photographs(source: str) -> Iterator[pa.RecordBatch]:
    """List what INPUT names, as batches of schema MANIFEST.

    A prefix means what lies below it (`s3://bucket/faces` is not `faces2/a.jpg`); for more, use a glob.
    Relative names in a list count from the list's own folder. An object that a list names and that is
    not there, or not to be had, is listed with an empty tag: it costs one row of the result.

    Raises:
        CallerError: nothing is there, it cannot be read, or it holds no photograph.
    """
    batches = _batched(_unpacked(_listed(source)))
    first = next(batches, None)
    if first is None:
        raise CallerError(
            f"{source}: holds no photograph ({' '.join(sorted(SUFFIXES))}); check INPUT, and name tar files "
            "as *.tar"
        )
    yield first
    yield from batches


def _listed(source: str) -> Iterator[StoredObject]:
    suffix = PurePosixPath(source).suffix.lower()
    if suffix in {".tgz", ".gz", ".bz2", ".xz", ".zst", ".zip"}:
        raise CallerError(f"{source}: compressed archives are not read; make a plain .tar of it")
    if PurePosixPath(source).name == inventory.NAME and storage.is_s3(source):
        return (found for found in inventory.listed(source) if is_photograph(found.uri))
    if suffix in _LISTS:
        return _stats(named_in(source))
    if storage.is_s3(source):
        return _s3_glob(source) if _is_glob(source) else _s3_prefix(source)
    path = storage.local_path(source)
    if path.is_dir():
        return _folder(path)
    if path.exists():
        return _stats([storage.local_uri(path)])
    if _is_glob(source):
        found = map(Path, glob.iglob(source, recursive=True))  # noqa: PTH207 (not with a root)
        return _stats(storage.local_uri(path) for path in found if path.is_file())
    raise CallerError(f"{source}: there is no such file or folder; check INPUT")


def _is_glob(source: str) -> bool:
    return "*" in source or "?" in source


def _unpacked(objects: Iterable[StoredObject]) -> Iterator[StoredObject]:
    """The objects, with the photographs in a tar file in its place; one that is not there stays itself."""
    for found in objects:
        yield from members(found) if found.etag and is_archive(found.uri) else (found,)


def _folder(folder: Path) -> Iterator[StoredObject]:
    def refuse(error: OSError) -> None:
        raise CallerError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions")

    for place, _, names in os.walk(folder, onerror=refuse):
        for name in filter(is_photograph, names):
            found = storage.stat(storage.local_uri(Path(place, name)))
            if found is not None:
                yield found


def _s3_prefix(source: str) -> Iterator[StoredObject]:
    below = source if source.endswith("/") or not storage.bucket_and_key(source)[1] else f"{source}/"
    for found in _s3_objects(source):
        if found.uri == source or (found.uri.startswith(below) and is_photograph(found.uri)):
            yield found


def _s3_glob(source: str) -> Iterator[StoredObject]:
    matches = re.compile(_glob_pattern(source), re.DOTALL).fullmatch
    prefix = re.split(r"[*?]", source, maxsplit=1)[0]
    return (found for found in _s3_objects(prefix) if matches(found.uri))


def _s3_objects(prefix: str) -> Iterator[StoredObject]:
    """List a prefix without the empty objects that stand for folders, as the S3 console makes them."""
    return (found for found in storage.list_objects(prefix) if not found.uri.endswith("/"))


def _glob_pattern(source: str) -> str:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", source))


def named_in(source: str) -> Iterator[str]:
    """The URIs that a list names, a .txt, .csv or .parquet file; relative names count from its folder.

    Raises:
        CallerError: there is no such list, or it cannot be read as one.
    """
    try:
        data = storage.read(source)
    except ObjectGone as error:
        raise CallerError(f"{source}: there is no such list; check INPUT") from error
    folder = source.rpartition("/")[0] if storage.is_s3(source) else str(storage.local_path(source).parent)
    for name in _names(source, data):
        if storage.is_s3(name) or name.startswith("file://"):
            yield name
        elif storage.is_s3(folder):
            yield storage.join(folder, name)
        else:
            yield storage.local_uri(Path(folder, name))


def _names(source: str, data: bytes) -> list[str]:
    suffix = PurePosixPath(source).suffix.lower()
    try:
        if suffix == ".txt":
            lines = (line.strip() for line in data.decode().splitlines())
            return [line for line in lines if line and not line.startswith("#")]
        table = pa.parquet.read_table(io.BytesIO(data)) if suffix == ".parquet" else _csv(data)
    except (UnicodeDecodeError, pa.ArrowException, OSError) as error:
        raise CallerError(f"{source}: cannot be read as a list of URIs; check the file") from error
    column = next((name for name in (*_URI_COLUMNS, *table.column_names) if name in table.column_names), None)
    if column is None or not _is_text(table.schema.field(column).type):
        raise CallerError(f"{source}: needs a column of URIs named {' or '.join(_URI_COLUMNS)}")
    return [name for name in table[column].to_pylist() if name]


def _is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text: pandas writes large strings, and categories as dictionaries."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _csv(data: bytes) -> pa.Table:
    table = pyarrow.csv.read_csv(io.BytesIO(data))
    if set(_URI_COLUMNS) & set(table.column_names):
        return table
    options = pyarrow.csv.ReadOptions(autogenerate_column_names=True)
    return pyarrow.csv.read_csv(io.BytesIO(data), read_options=options)


def _stats(uris: Iterable[str]) -> Iterator[StoredObject]:
    uris = iter(uris)
    with ThreadPoolExecutor(_STAT_THREADS) as threads:
        while chunk := list(islice(uris, _BATCH)):
            yield from threads.map(_stat, chunk)


def _stat(uri: str) -> StoredObject:
    try:
        found = storage.stat(uri)
    except ObjectFailed:
        found = None
    return found or StoredObject(uri, etag="", size_bytes=0)


def _batched(objects: Iterator[StoredObject]) -> Iterator[pa.RecordBatch]:
    while chunk := list(islice(objects, _BATCH)):
        columns = [[o.uri for o in chunk], [o.etag for o in chunk], [o.size_bytes for o in chunk]]
        yield pa.record_batch(columns, schema=MANIFEST)

"""OUTPUT/manifest: what each run answers for, sealed before its work begins."""

import hashlib
import io
import json
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet

from expllm.distributed import storage
from expllm.errors import RunError
from expllm.manifest import union
from expllm.tables import MANIFEST


@dataclass(frozen=True)
class Seal:
    """What stands beside a manifest and makes it final; a manifest without one was never finished."""

    run_id: str
    source: str
    num_photographs: int
    sha256: str


def write(output: str, run_id: str, source: str, photographs: pa.Table) -> Seal:
    """Write a run's manifest, then its seal; both stay until one of its photographs is forgotten."""
    data = _bytes(photographs)
    seal = Seal(run_id, source, photographs.num_rows, hashlib.sha256(data).hexdigest())
    storage.write(storage.join(output, "manifest", f"{run_id}.parquet"), data)
    storage.write(storage.join(output, "manifest", f"{run_id}.json"), json.dumps(asdict(seal)).encode())
    return seal


def supersede(output: str, seal: Seal, photographs: pa.Table) -> Seal:
    """Put another manifest in the place of a sealed one; broken off half-way, both count.

    Args:
        seal: The one that goes; its successor keeps its source and its place in the order of runs.
    """
    _, _, edition = seal.run_id.partition(".")
    new = write(output, f"{run_of(seal)}.{int(edition or 1) + 1}", seal.source, photographs)
    for suffix in ("json", "parquet"):
        storage.delete(storage.join(output, "manifest", f"{seal.run_id}.{suffix}"))
    return new


def run_of(seal: Seal) -> str:
    """The run that a manifest is of, whichever edition of it this is."""
    return seal.run_id.partition(".")[0]


def is_sealed(output: str, photographs: pa.Table) -> bool:
    """Whether the last sealed manifest lists exactly these photographs."""
    sealed = seals(output)
    return bool(sealed) and sealed[-1].sha256 == hashlib.sha256(_bytes(photographs)).hexdigest()


def _bytes(photographs: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pa.parquet.write_table(photographs.combine_chunks(), buffer, compression="zstd")
    return buffer.getvalue()


def seals(output: str) -> list[Seal]:
    """The sealed manifests of an output, the oldest first; empty where no run has begun."""
    objects = storage.children(storage.join(output, "manifest"))
    names = sorted(found.uri for found in objects if found.uri.endswith(".json"))
    return [Seal(**json.loads(storage.read(name))) for name in names]


def read(output: str, seal: Seal) -> pa.Table:
    """Read a sealed manifest.

    Raises:
        RunError: it is not what was sealed.
    """
    uri = storage.join(output, "manifest", f"{seal.run_id}.parquet")
    data = storage.read(uri)
    if hashlib.sha256(data).hexdigest() != seal.sha256:
        raise RunError(f"{uri}: was changed after it was sealed; restore it")
    return pa.parquet.read_table(io.BytesIO(data), schema=MANIFEST)


def promised(output: str, source: str | None = None) -> pa.Table:
    """Every photograph that any run of this output answers for, with the tag it was last listed with.

    Args:
        source: Only runs of this INPUT, as it was written.
    """
    return union(read(output, seal) for seal in seals(output) if source in (None, seal.source))

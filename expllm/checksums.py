"""Files and texts into the SHA-256 hashes they are known by."""

import hashlib
from pathlib import Path


def file_sha256(file: Path) -> str:
    """The hash of a file's bytes, in hex; read in parts, so that its size does not matter."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def short_sha256(text: str) -> str:
    """The first twelve digits of a text's hash: enough to tell models and prompts apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]

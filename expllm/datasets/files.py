"""The names of pictures in a list -> where they are, or that they are not."""

import os
from pathlib import Path

from expllm.errors import Reject


class Files:
    """Finds pictures below a folder. Each folder is listed once: lists name hundreds of thousands."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._names: dict[str, frozenset[str]] = {}

    def find(self, name: object) -> str | Reject:
        """The path of a picture; relative names count from the root, and URIs are taken as they are."""
        if not isinstance(name, str) or not name.strip():
            return Reject.MALFORMED_ROW
        if "://" in name:
            return name
        path = name.strip() if name.startswith("/") else f"{self._root}/{name.strip()}"
        folder, _, last = path.rpartition("/")  # a Path for each row would take seconds
        if folder not in self._names:
            self._names[folder] = _listed(folder)
        return path if last in self._names[folder] else Reject.MISSING_FILE


def _listed(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208
    except (OSError, ValueError):  # the second: a name that no folder can have
        return frozenset()

"""Turns crops into the numbers an encoder reads, as a checkpoint's preprocessing.json says."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from torch import Tensor

from expllm.errors import CallerError
from expllm.faces import ALIGNED, CROP_PX, Cut

_Spread = Annotated[FiniteFloat, Field(gt=0)]


@dataclass(frozen=True)
class Preprocessing:
    """How the crops were made and normalised that a model was trained on; labelling must do the same."""

    crop: str = ALIGNED
    size_px: Annotated[int, Field(gt=0)] = CROP_PX
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.485, 0.456, 0.406)
    std: tuple[_Spread, _Spread, _Spread] = (0.229, 0.224, 0.225)
    decoder: str = "pillow"

    @classmethod
    def read(cls, file: Path) -> "Preprocessing":
        """Read a checkpoint's preprocessing.json.

        Raises:
            CallerError: a field is missing, unknown, or not what it should be.
        """
        given = read_object(file)
        names = {field.name for field in fields(cls)}
        wrong = sorted(names ^ given.keys())
        if wrong:
            reason = "missing" if wrong[0] in names else "not known"
            raise CallerError(f"{file}: the field {wrong[0]!r} is {reason}")
        try:
            return TypeAdapter(cls).validate_python(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise CallerError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    @property
    def cut(self) -> Cut:
        """How labelling cuts out the faces."""
        return Cut(self.crop, self.size_px)

    def write(self, file: Path) -> None:
        """Write preprocessing.json."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def normalise(self, pixels: Float32[Tensor, "faces 3 h w"]) -> Float32[Tensor, "faces 3 h w"]:
        """Pixels 0..1 into what the encoder reads."""
        return (pixels - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)


def read_object(file: Path) -> dict[str, Any]:
    """The object that one of a checkpoint's JSON files holds.

    Raises:
        CallerError: the file cannot be read, or holds something else.
    """
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CallerError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CallerError(f"{file}: is not JSON ({error})") from error
    if not isinstance(read, dict):
        raise CallerError(f"{file}: must hold one JSON object")
    return read


def to_pixels(crops: UInt8[np.ndarray, "faces h w 3"]) -> Float32[Tensor, "faces 3 h w"]:
    """Crops as a tensor of pixels 0..1."""
    return torch.from_numpy(np.array(crops)).permute(0, 3, 1, 2).float() / 255

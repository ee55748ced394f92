"""Weights are found whatever files they lie in, and written in shards that are found again."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from expllm.errors import CallerError
from expllm.models.weight_files import PlannedTensor, size_bytes, stored_tensors, write_shards

TENSORS = {f"t{number}": torch.full((8, 4), float(number)) for number in range(5)}


def _planned() -> list[PlannedTensor]:
    return [PlannedTensor(name, (8, 4), lambda tensor=tensor: tensor) for name, tensor in TENSORS.items()]


@pytest.mark.parametrize(("shard_bytes", "files"), [(10**6, 1), (300, 3), (1, 5)])
def test_shards_are_cut_by_size_and_all_found_again(tmp_path: Path, shard_bytes: int, files: int) -> None:
    write_shards(tmp_path, _planned(), torch.float32, shard_bytes)
    assert len(list(tmp_path.glob("*.safetensors"))) == files
    found = stored_tensors(tmp_path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name].read(), tensor) for name, tensor in TENSORS.items())


def test_of_two_indexes_that_of_safetensors_is_taken(tmp_path: Path) -> None:
    write_shards(tmp_path, _planned(), torch.float32, shard_bytes=1)
    places = {"weight_map": {"other": "pytorch_model-00001-of-00001.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(places))
    assert stored_tensors(tmp_path).keys() == TENSORS.keys()


def test_the_size_on_disk_is_known_beforehand(tmp_path: Path) -> None:
    assert size_bytes(_planned(), torch.bfloat16) == 5 * 8 * 4 * 2


def test_parts_of_one_tensor_are_written_apart(tmp_path: Path) -> None:
    whole = torch.arange(6.0).reshape(6, 1)
    planned = [PlannedTensor(f"part{i}", (2, 1), lambda i=i: whole.chunk(3)[i]) for i in range(3)]
    write_shards(tmp_path, planned, torch.float32)
    assert stored_tensors(tmp_path)["part1"].read().flatten().tolist() == [2, 3]


def test_files_of_old_versions_of_torch_are_read(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(stored_tensors(tmp_path / "old.pth")["t3"].read(), TENSORS["t3"])


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_file({"same": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(CallerError, match="both hold same"):
        stored_tensors(tmp_path)

"""Llama's tokenizer with the marks of this project's prompts in the place of tokens it has."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import LlamaTokenizer, PreTrainedTokenizerFast

from expllm import prompt
from expllm.errors import CallerError

FILES = ("tokenizer.json", "tokenizer.model")
_UNKNOWN = "<unk>"
_RENAMED = {"<s>": prompt.BEGIN, "</s>": prompt.END, "<0xFF>": prompt.IMAGE}
"""Llama's marks of a text's begin and end mark turns here; no UTF-8 text has the byte 0xFF."""


def llama_tokenizer(folder: Path, vocab_size: int) -> PreTrainedTokenizerFast:
    """Read a Llama tokenizer so that texts are encoded as they stand, in pieces or at once.

    It adds no token and no space at the beginning; the prompts' marks are single tokens, and nothing that
    is in the text gives the image's.

    Args:
        folder: Holds tokenizer.model, or tokenizer.json.
        vocab_size: Rows of the embedding; tokens that were added behind them are dropped.

    Raises:
        CallerError: the folder holds no tokenizer, or another than Llama's.
    """
    fields = _fields(folder)
    _rename(fields, vocab_size, folder)
    with TemporaryDirectory() as place:
        file = Path(place) / "tokenizer.json"
        file.write_text(json.dumps(fields))
        return PreTrainedTokenizerFast(
            tokenizer_file=str(file),
            bos_token=prompt.BEGIN,
            eos_token=prompt.END,
            pad_token=_UNKNOWN,
            unk_token=_UNKNOWN,
            extra_special_tokens={"image_token": prompt.IMAGE},
        )


def _fields(folder: Path) -> dict[str, Any]:
    try:
        read = LlamaTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CallerError(f"{folder}: its tokenizer cannot be read; download it again") from error
    fields: dict[str, Any] = json.loads(read.backend_tokenizer.to_str())
    return fields


def _rename(fields: dict[str, Any], vocab_size: int, folder: Path) -> None:
    vocabulary: dict[str, int] = fields["model"]["vocab"]
    missing = [token for token in (_UNKNOWN, *_RENAMED) if token not in vocabulary]
    if missing:
        raise CallerError(f"{folder}: its tokenizer is not Llama's: it has no {missing[0]}")
    if len(vocabulary) > vocab_size:
        raise CallerError(f"{folder}: its tokenizer has {len(vocabulary)} tokens, the model {vocab_size}")
    for theirs, ours in _RENAMED.items():
        vocabulary[ours] = vocabulary.pop(theirs)
    marks = sorted((vocabulary[token], token) for token in (_UNKNOWN, *_RENAMED.values()))
    fields["added_tokens"] = [_special(number, token) for number, token in marks]
    fields["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    fields["pre_tokenizer"] = fields["post_processor"] = None
    fields["decoder"]["decoders"] = [
        part for part in fields["decoder"]["decoders"] if part["type"] != "Strip"
    ]


def _special(number: int, token: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, **flags, "special": True}

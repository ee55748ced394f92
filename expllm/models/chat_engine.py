"""Chat calls -> completions, by a vLLM engine that holds any chat model with a chat template."""

import uuid
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from expllm.checksums import file_sha256, short_sha256
from expllm.errors import CallerError
from expllm.exp_cot.calls import Call, Completion, TeacherFailed

_CONFIG = "config.json"
_DEFAULTS: dict[str, Any] = {
    "gpu_memory_utilization": 0.2,
    "enforce_eager": True,
    "max_model_len": 4096,
    "max_num_seqs": 32,
    "trust_remote_code": False,
    "load_format": "safetensors",
}
"""They suit a CPU, where `gpu_memory_utilization` is a share of the machine's memory."""


def model_id(folder: str) -> str:
    """The folder's name with a short hash over its weights and settings.

    Raises:
        CallerError: the folder holds no chat model, or one with code of its own.
    """
    path = Path(folder)
    files = sorted([*path.glob("*.safetensors"), *path.glob("*.json"), *path.glob("*.jinja")])
    if not (path / _CONFIG).is_file() or not any(file.suffix == ".safetensors" for file in files):
        raise CallerError(f"teacher_model {folder}: holds no config.json with .safetensors files beside it")
    if any('"auto_map"' in file.read_text(errors="replace") for file in path.glob("*.json")):
        raise CallerError(f"teacher_model {folder}: asks for code of its own (auto_map): remove that field")
    if AutoTokenizer.from_pretrained(path).chat_template is None:
        raise CallerError(f"teacher_model {folder}: its tokenizer has no chat template; use a chat model")
    return f"{path.resolve().name}-{short_sha256(' '.join(file_sha256(file) for file in files))}"


class ChatEngine:
    """One engine for many callers at once; create it in a process with a running event loop."""

    def __init__(self, folder: str, overrides: dict[str, Any]) -> None:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        args = AsyncEngineArgs(model=folder, **{**_DEFAULTS, **overrides})
        self._engine = AsyncLLM.from_engine_args(args)

    async def complete(self, call: Call) -> Completion:
        """Ask; the call's parameters are vLLM's sampling parameters.

        Raises:
            TeacherFailed: the engine refuses this call, as it does one that is too long.
        """
        from vllm import SamplingParams

        turns = [vars(message) for message in call.messages]
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        prompt = {"prompt_token_ids": self._tokenizer(text, add_special_tokens=False).input_ids}
        try:
            sampling = SamplingParams(**call.parameters)
            async for output in self._engine.generate(prompt, sampling, request_id=uuid.uuid4().hex):
                last = output
        except (ValueError, TypeError) as error:
            raise TeacherFailed(f"vLLM refuses the call: {str(error).splitlines()[0]}") from error
        answer = last.outputs[0]
        whole = answer.finish_reason == "stop"
        return Completion(answer.text if whole else "", len(last.prompt_token_ids), len(answer.token_ids))

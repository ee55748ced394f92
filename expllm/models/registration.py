"""Makes the model known to Transformers and to vLLM, in the process that calls it."""

import sys

from expllm.models.architecture import ARCHITECTURE, ExpllmConfig, ExpllmForConditionalGeneration


def register() -> None:
    """Register the model by its configuration; calling it again changes nothing.

    The default tower is known wherever architecture.py is imported.

    vLLM calls it in each of its processes, as the entry point `vllm.general_plugins` of this package.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    AutoConfig.register(ExpllmConfig.model_type, ExpllmConfig, exist_ok=True)
    AutoModelForImageTextToText.register(ExpllmConfig, ExpllmForConditionalGeneration, exist_ok=True)
    if "vllm" in sys.modules:  # elsewhere its import would cost ten seconds for nothing
        _register_with_vllm()


def _register_with_vllm() -> None:
    from vllm import ModelRegistry

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"expllm.models.vllm_model:{ARCHITECTURE}")

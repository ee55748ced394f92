"""Accuracies that others have published: of other pictures, asked in other words, to set beside."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One accuracy as published."""

    model: str
    data: str
    accuracy: float
    source: str


_FACIAL_R1 = "Facial-R1 (arXiv 2511.10254), zero-shot"
_FACE_LLAVA = "Face-LLaVA (arXiv 2504.07198), zero-shot"
_EXPLLM = "ExpLLM (arXiv 2409.02828), table I"

PUBLISHED = (
    Published("GPT-4o", "RAF-DB", 0.627, _FACIAL_R1),
    Published("GPT-4o", "AffectNet", 0.489, _FACIAL_R1),
    Published("GPT-4o-mini", "RAF-DB", 0.758, _FACE_LLAVA),
    Published("ExpLLM-7B, fine-tuned", "RAF-DB", 0.9103, _EXPLLM),
    Published("ExpLLM-7B, fine-tuned", "AffectNet, 8 classes", 0.6286, _EXPLLM),
)

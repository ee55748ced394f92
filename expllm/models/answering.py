"""Questions of an evaluation -> the answers of a checkpoint, by one vLLM engine for all of them.

One process and no Ray: an evaluation asks about some thousand faces, and its later questions hang on earlier
answers, for which a job of stages would have to start its engine anew.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from expllm import cot, prompt
from expllm.errors import Reject, RunError
from expllm.evaluation.answers import Question, Reply
from expllm.models.checkpoint import Checkpoint
from expllm.models.engine import Engine

_IN_FLIGHT = 64
_LABEL_FIRST = cot.begin(cot.EXPRESSION)


class EngineAnswerer:
    """Answers by a checkpoint; use it as a context, at the end of which the engine's processes end.

    Raises:
        RunError: the engine does not start.
    """

    continues = True
    can_put_label_first = True

    def __init__(self, checkpoint: Checkpoint, **overrides: Any) -> None:
        self.temperature = checkpoint.temperature
        self._loop = asyncio.Runner()
        try:
            self._engine: Engine = self._loop.run(_started(checkpoint, overrides))
        except RuntimeError as error:
            raise RunError(f"the engine did not start: {str(error).splitlines()[0]}") from error

    def answer(self, questions: Sequence[Question]) -> list[Reply | Reject]:
        """Ask all at once; the engine batches them as they come.

        Raises:
            RunError: the engine died.
        """
        try:
            return self._loop.run(self._answers(questions))
        except EngineDeadError as error:
            raise RunError(
                "the engine died, perhaps for want of memory; its own lines above say why"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.shutdown()
        self._loop.close()

    async def _answers(self, questions: Sequence[Question]) -> list[Reply | Reject]:
        in_flight = asyncio.Semaphore(_IN_FLIGHT)

        async def one(question: Question) -> Reply | Reject:
            async with in_flight:
                try:
                    return await self._reply(question)
                except EngineGenerateError:
                    return Reject.GENERATION_FAILED

        return list(await asyncio.gather(*map(one, questions)))

    async def _reply(self, question: Question) -> Reply:
        features = question.face.features
        if question.is_scored:
            answer = await self._engine.explain(features, question.hints)
            begun = ""
        else:
            begun = _LABEL_FIRST if question.is_label_first else question.begun
            answer = await self._engine.complete(prompt.explain(question.hints) + begun, features)
        return Reply(begun + answer.text, answer.is_truncated, answer.generated_tokens, answer.label_logprobs)


async def _started(checkpoint: Checkpoint, overrides: dict[str, Any]) -> Engine:
    return Engine(checkpoint, **overrides)

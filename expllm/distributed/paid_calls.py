"""Calls to a teacher's model that are paid for once: kept by content, and held to the spending limit."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import ray

from expllm.config import Price
from expllm.distributed import storage
from expllm.distributed.store_errors import ObjectGone
from expllm.exp_cot.calls import Call, Complete, Completion, OutOfMoney, TeacherFailed, cost


class PaidCalls:
    """Asks a model, unless the same call was answered before; callable from several threads.

    Each answer is one small object under `folder`, named by the call's key and written whole before it is
    used: whoever is killed has lost no more than the calls under way. The call itself is not kept.
    """

    def __init__(self, ask: Complete, folder: str, purse: Any, price: Price | None) -> None:
        self._ask, self._folder, self._purse, self._price = ask, folder, purse, price

    def __call__(self, call: Call) -> Completion:
        """Answer a call.

        Raises:
            TeacherFailed: the model gives no answer.
            OutOfMoney: the call could cost more than is left.
        """
        kept = self._kept(call)
        if self._purse is None or self._price is None:
            return kept or self._asked(call)
        return self._paid(call, kept, self._price)

    def _paid(self, call: Call, kept: Completion | None, price: Price) -> Completion:
        """What was paid before counts as well: it is part of what the texts cost."""
        most = _cost(kept, price) if kept else _most_cost(call, price)
        if not ray.get(self._purse.put_aside.remote(most)):
            raise OutOfMoney(f"the next call could cost {most:.6f}, more than is left")
        paid = 0.0
        try:
            completion = kept or self._asked(call)
            paid = _cost(completion, price)
            return completion
        finally:
            ray.get(self._purse.give_back.remote(most - paid))

    def _asked(self, call: Call) -> Completion:
        completion = self._ask(call)
        storage.write(self._place(call), json.dumps(asdict(completion)).encode())
        return completion

    def _kept(self, call: Call) -> Completion | None:
        try:
            return Completion(**json.loads(storage.read(self._place(call))))
        except ObjectGone:
            return None

    def _place(self, call: Call) -> str:
        return storage.join(self._folder, call.key[:2], f"{call.key}.json")


def ask_engines(engines: Sequence[Any]) -> Complete:
    """Ask any one of these actors of ChatEngine."""

    def ask(call: Call) -> Completion:
        try:
            completion: Completion = ray.get(random.choice(engines).complete.remote(call))
            return completion
        except TeacherFailed as error:  # Ray raises it as its own and as ours
            raise TeacherFailed(str(error.cause)) from error

    return ask


def _cost(completion: Completion, price: Price) -> float:
    return cost(price, completion.prompt_tokens, completion.generated_tokens)


def _most_cost(call: Call, price: Price) -> float:
    prompt, answer = call.most_tokens
    return cost(price, prompt, answer or 0)

"""The deterministic teacher: it writes by expllm.writer, and reads the movements that a text names."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from expllm import cot, writer
from expllm.checksums import short_sha256
from expllm.exp_cot.prototypes import PROTOTYPES, as_named, nearest
from expllm.exp_cot.rounds import Case, key_observations
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS, EXPECTED_FROM, NAMED_FROM

LOOKS = (writer.SHOWN_FROM, NAMED_FROM, EXPECTED_FROM)
"""From which intensity on movements are named in each round: as ever, then the faintest too, then only those
that a text must name. Each of these texts is true."""


@dataclass(frozen=True)
class WriterTeacher:
    """Writes about one face; the same face and seed give the same texts."""

    seed: str

    def describe(self, case: Case) -> str:
        """Name the movements and weigh them for the expression whose prototype they are nearest to."""
        named = map(as_named, writer.shown(case.measured, self._shown_from(case)))
        chain = self._write(case, case.told or nearest(named))
        seen = f"{cot.begin(cot.KEY_OBSERVATIONS)} {chain.key_observations}"
        return f"{seen}\n{cot.begin(cot.INTERPRETATION)} {chain.interpretation}"

    def guess(self, description: str) -> Expression | None:
        """The expression nearest to the movements that Key Observations names; it reads nothing else."""
        return nearest(cot.observations(key_observations(description)))

    def reflect(self, case: Case, description: str, faults: Sequence[str]) -> str:
        """Say where to look next."""
        return f"{' '.join(faults)} Look again, at movements from {LOOKS[len(case.memory) + 1]} on."

    def conclude(self, case: Case, description: str, label: Expression) -> str:
        """The same text with its conclusion."""
        return cot.render(self._write(case, label))

    def _write(self, case: Case, label: Expression) -> cot.ChainOfThought:
        rng = random.Random(f"{self.seed} {len(case.memory)}")
        return writer.write(case.measured, label, rng, shown_from=self._shown_from(case))

    def _shown_from(self, case: Case) -> float:
        return LOOKS[len(case.memory)]


@cache
def writer_id() -> str:
    """Short hash that changes with what the teacher writes of a face, or how it reads it."""
    rest = dict.fromkeys(COLUMNS, 0.0)
    faces = [rest, dict.fromkeys(COLUMNS, 0.9), *({**rest, column: 0.5} for column in COLUMNS)]
    texts = [cot.render(writer.write(face, e, random.Random(0))) for face in faces for e in EXPRESSIONS]
    patterns = [f"{p.expression} {sorted(p.needed)} {sorted(p.joining)}" for p in PROTOTYPES]
    return short_sha256("\n".join([*map(str, LOOKS), *patterns, *texts]))

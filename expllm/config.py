"""TOML file and key=value -> the frozen configuration of one job."""

import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from expllm.errors import CallerError


class Config(BaseModel):
    """What every job's configuration has in common: it never changes, and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, path: Path | None = None, overrides: Sequence[str] = ()) -> Self:
        """Read a TOML file, if one is named, and then each `key=value`; later ones win.

        Raises:
            CallerError: the file cannot be read, a key is unknown, or a value does not fit.
        """
        values = {} if path is None else _read_toml(path)
        for override in overrides:
            key, equals, text = override.partition("=")
            if not equals:
                raise CallerError(f"--set {override}: write key=value")
            values[key.strip()] = _value(text.strip())
        return cls.of(values)

    @classmethod
    def of(cls, values: dict[str, object]) -> Self:
        """Check values and say in one line what is wrong with the first that does not fit."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise CallerError(_one_line(cls, error)) from error


class MachinesConfig(Config):
    """A model, and what runs its encoder and an engine."""

    model: str = "expllm-135m"
    """The bundled model's name, or a checkpoint folder."""
    encoder_gpus: float = Field(0, ge=0)
    """GPUs an encoder takes; may be a fraction."""
    engine_workers: int = Field(1, ge=1)
    """vLLM engines; of those that Serve runs, the first starts at once and the others as requests come."""
    engine_gpus: int = Field(0, ge=0)
    """GPUs an engine takes; more than one for a model that is split over several."""
    engine_kwargs: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """vLLM engine arguments that replace the project's own, by vLLM's names."""
    decode_timeout_s: float = Field(20, gt=0)

    @property
    def encoder_device(self) -> Literal["cpu", "cuda"]:
        """Where encoders compute, as torch calls it."""
        return "cuda" if self.encoder_gpus else "cpu"

    @property
    def engine_overrides(self) -> dict[str, bool | int | float | str]:
        """What changes in the project's vLLM arguments: on GPUs an engine compiles and fills their memory."""
        gpu: dict[str, bool | int | float | str] = {
            "enforce_eager": False,
            "gpu_memory_utilization": 0.85,
            "tensor_parallel_size": self.engine_gpus,
            "max_num_seqs": 256,
        }
        return {**(gpu if self.engine_gpus else {}), **self.engine_kwargs}


class EngineConfig(MachinesConfig):
    """The model and what runs it: the same for jobs and for the service."""

    adapters: int = Field(0, ge=0)
    """Adapters that an engine of Serve's holds at once: above 0, a promoted model that differs from its base
    in the language model's adapter alone is taken in without starting anything anew."""
    adapter_rank: int = Field(16, ge=1)
    """The highest rank of these adapters."""
    hints: bool = True
    """Whether the prompt tells the model which movements were measured on the face."""


class Prices(Config):
    """What machines and requests cost, in any one currency; all that is not given costs nothing."""

    cpu_hour: float = Field(default=0, ge=0)
    """One CPU that a worker takes, for an hour."""
    gpu_hour: float = Field(default=0, ge=0)
    get_1000: float = Field(default=0, ge=0)
    """A thousand S3 requests that read an object."""
    put_1000: float = Field(default=0, ge=0)
    list_1000: float = Field(default=0, ge=0)


class LabelConfig(EngineConfig):
    """How `expllm label` labels: the model, the detector, the engine and its limits."""

    detector: Literal["mediapipe"] = "mediapipe"
    engine: Literal["vllm", "serve"] = "vllm"
    """Engines inside the job, or the Serve deployment that jobs and HTTP clients share."""
    limit: int | None = Field(None, ge=1)
    """Most photographs to take, the first by URI; for a first look."""
    max_reject_rate: float = Field(0.9, ge=0, le=1)
    """The run fails above this share of rejected rows; what it has labelled stays."""
    shard_size: int | None = Field(None, ge=1)
    """About how many photographs are committed together; by default it grows with the input."""
    face_workers: int = Field(1, ge=1)
    """Processes that read photographs and find faces; one a core is a good number on a cluster."""
    encoder_workers: int = Field(1, ge=1)
    prices: Prices = Field(default_factory=Prices)
    """What the run's cost is counted by."""
    max_cost: float | None = Field(None, ge=0)
    """The run stops before it costs more, by `prices`; what it has labelled stays."""

    @model_validator(mode="after")
    def _cost_has_prices(self) -> Self:
        if self.max_cost is not None and self.prices == Prices():
            raise ValueError("needs prices: write [prices] with cpu_hour or gpu_hour")
        return self


class PlanConfig(LabelConfig):
    """How `expllm plan` finds out what labelling would take: `LabelConfig` as the run would have it."""

    canary: int = Field(100, ge=1)
    """Photographs that are labelled, drawn by chance."""
    seed: int = 0

    def labelling(self) -> LabelConfig:
        """How the canary is labelled: as the run would, whatever it costs."""
        kept = self.model_dump(exclude={"canary", "seed", "limit", "max_cost"})
        return LabelConfig.model_validate(kept)


class ServiceConfig(EngineConfig):
    """How `expllm serve` answers."""

    reader_replicas: int = Field(1, ge=1)
    """Processes that read photographs and encode faces."""
    api_keys_file: Path | None = None
    """Keys that clients may use, one a line; beside those of EXPLLM_API_KEYS."""


class EvaluateConfig(EngineConfig):
    """How `expllm evaluate` judges a model; `hints` says of which texts the first figures are."""

    limit: int | None = Field(None, ge=1)
    """Most faces to ask about, drawn by `seed`."""
    pairs: int = Field(200, ge=0)
    """Pairs of rendered pictures that differ in one movement."""
    pairs_seed: int = Field(900_000, ge=0)
    """The first person of the pairs; those in training have lower numbers."""
    changed_chains: int = Field(200, ge=0)
    """Most faces whose Key Observations are changed, to see whether the label follows."""
    bootstrap_rounds: int = Field(1000, ge=1)
    """Resamples that each interval is of."""
    seed: int = Field(0, ge=0)
    endpoint_form: bool = True
    """Whether an endpoint's model is told the form of answers; one trained on it need not be."""


class GateConfig(MachinesConfig):
    """How `expllm gate` and `expllm promote` try a checkpoint in vLLM."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """The engine's numbers while it is tried; in bfloat16 only labels and first tokens have to agree."""


class Price(Config):
    """What a model's tokens cost, in any one currency, for a million of them."""

    prompt: float = Field(ge=0)
    answer: float = Field(ge=0)


class BuildCotConfig(MachinesConfig):
    """How `expllm build-cot` writes chains of thought: what measures, who writes, and what it may cost."""

    teacher: Literal["writer", "endpoint", "vllm"] = "writer"
    """The deterministic writer, an OpenAI-compatible endpoint, or a chat model in vLLM on this cluster."""
    label_steered: bool = False
    """Tell the teacher the label after a failed round, and force the last text to it, as published texts."""
    teacher_model: str | None = None
    """The endpoint's name of the model, or the folder of a chat model for vLLM."""
    teacher_url: str | None = None
    """Where the endpoint's `/chat/completions` lies below: https://host/v1."""
    teacher_key: str = "OPENAI_API_KEY"
    """The environment variable that holds the endpoint's key; without it none is sent."""
    teacher_parameters: dict[str, bool | int | float | str] = {"temperature": 0.0, "max_tokens": 400}
    """What is sent with each call, by the interface's names."""
    timeout_s: float = Field(60, gt=0)
    """Longest time for one answer of the endpoint."""
    retries: int = Field(5, ge=0)
    """Further tries of a call that the endpoint could not answer for the moment."""
    calls_at_once: int = Field(8, ge=1)
    """Faces that a teaching process asks about at a time."""
    prices: dict[str, Price] = Field(default_factory=dict)
    """Model -> what its tokens cost."""
    max_cost: float | None = Field(None, ge=0)
    """Most that the calls for OUTPUT may cost, over all runs; none is made that could pass it."""
    cache: str | None = None
    """Folder or s3:// prefix of the answers that were paid for; OUTPUT/calls by default."""
    limit: int | None = Field(None, ge=1)
    """Most faces to take, the first of the data set."""
    face_workers: int = Field(1, ge=1)
    """Processes that read photographs and find faces."""
    encoder_workers: int = Field(1, ge=1)
    teaching_workers: int = Field(1, ge=1)
    """Processes that have texts written."""


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise CallerError(f"{path}: cannot be read ({error.strerror}); check --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CallerError(f"{path}: is not TOML: {error}") from error


def _value(text: str) -> object:
    """Read a value as TOML does; what is none, such as a bare word or a path, is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _one_line(config: type[Config], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{key} is not given: name it in the file, or as --set {key}=..."
    if first["type"] != "extra_forbidden":
        return f"{key}: {first['msg']}, not {first['input']!r}"
    known = list(config.model_fields)
    nearest = get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"the keys are {', '.join(known)}"
    return f"there is no key {key!r}; {hint}"

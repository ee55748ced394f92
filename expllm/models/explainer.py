"""An ExpLLM model that learns: its projector whole, language model and encoder through low-rank adapters."""

from collections.abc import Callable, Sequence

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from expllm import sft
from expllm.errors import CallerError
from expllm.models.architecture import ExpllmForConditionalGeneration, patch_features
from expllm.models.tower import FaceTower
from expllm.train_config import LINEAR_LAYERS, TrainConfig


def lora_config(
    rank: int = 16, layers: Sequence[str] = LINEAR_LAYERS, scale: float = 2.0, dropout: float = 0.0
) -> LoraConfig:
    """Low-rank adapters on these layers, by the last part of their names.

    Args:
        scale: What an adapter's product is multiplied by: LoRA's alpha over its rank.
    """
    return LoraConfig(r=rank, lora_alpha=scale * rank, lora_dropout=dropout, target_modules=list(layers))


def explainer_of(model: ExpllmForConditionalGeneration, config: TrainConfig) -> "Explainer":
    """The model with the adapters that a training is configured with."""
    kind = {"scale": config.adapter_scale, "dropout": config.adapter_dropout}
    language = lora_config(config.language_rank, config.language_layers, **kind)
    if not config.encoder_layers:
        return Explainer(model, language)
    return Explainer(model, language, lora_config(config.encoder_rank, config.encoder_layers, **kind))


class Explainer(nn.Module):
    """An ExpLLM model whose projector and adapters are trained; without adapters its encoder is frozen.

    Raises:
        CallerError: a part has no layer of a name that adapters are asked for.
    """

    def __init__(
        self, model: ExpllmForConditionalGeneration, adapters: LoraConfig, encoder: LoraConfig | None = None
    ) -> None:
        super().__init__()
        self.config = model.config
        self.tower = _tower(model.model.vision_tower, encoder)
        self.projector = model.model.multi_modal_projector.float()
        self.language_model = _adapted(model.model.language_model, adapters, "language model")
        self.lm_head = model.lm_head.requires_grad_(False)

    @property
    def learns_to_see(self) -> bool:
        """Whether the encoder has adapters."""
        return isinstance(self.tower, PeftModel)

    def train(self, mode: bool = True) -> "Explainer":
        """Switch to training; a frozen encoder stays as it is used."""
        super().train(mode)
        if not self.learns_to_see:
            self.tower.eval()
        return self

    def merge(self) -> None:
        """Add the adapters to the weights of the model that this one was made of, and drop them."""
        for part in (self.language_model, self.tower):
            if isinstance(part, PeftModel):
                part.merge_and_unload()

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        targets: Tensor,
        weights: Tensor,
        shown: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The mean over the examples of the weighted mean loss of their answer's tokens.

        A row is one example, padded on the right: attention is causal, so nothing looks at the padding.
        With `position_ids` a row is several examples, one after the other, in the order of their pixels.

        Args:
            weights: how much each target counts among those of its example.
            shown: which branches of the FaceTower are shown, if it is one.
            position_ids: each token's place in its example: they start at 0 with each, and attention ends
                where they do.
        """
        hidden = self._hidden(self._embedded(pixel_values, input_ids, shown), position_ids)
        examples = _example_of(input_ids, position_ids)
        return self._loss(hidden[:, :-1], targets[:, 1:], weights[:, 1:], examples[:, 1:])

    def next_token_logits(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        """What follows prompts of equal length."""
        return self.lm_head(self._hidden(self._embedded(pixel_values, input_ids))[:, -1])

    @torch.no_grad()
    def answers(
        self,
        pixel_values: Tensor,
        prompt_ids: Sequence[int],
        end_id: int,
        most_tokens: int,
        most: Callable[[int], int] = int,
    ) -> list[list[int]]:
        """The likeliest answer to one prompt, token by token, for each face; without its end.

        Args:
            most: The largest of a number that all workers give, where they write together: those that divide
                the weights must run the model equally often, whatever each has written.
        """
        prompts = torch.tensor([prompt_ids], device=pixel_values.device).expand(len(pixel_values), -1)
        embedded, cache, written = self._embedded(pixel_values, prompts), None, []
        while len(written) < most_tokens and most(int(not _are_ended(written, end_id))):
            read = self.language_model(inputs_embeds=embedded, past_key_values=cache, use_cache=True)
            cache = read.past_key_values
            written.append(self.lm_head(read.last_hidden_state[:, -1]).argmax(dim=1))
            embedded = self.language_model.get_input_embeddings()(written[-1][:, None])
        texts = torch.stack(written, dim=1).tolist()
        return [ids[: ids.index(end_id)] if end_id in ids else ids for ids in texts]

    def _embedded(self, pixel_values: Tensor, input_ids: Tensor, shown: Tensor | None = None) -> Tensor:
        with torch.set_grad_enabled(self.learns_to_see and torch.is_grad_enabled()):
            features = patch_features(self.tower, self.config, pixel_values, shown)
        embedded = self.language_model.get_input_embeddings()(input_ids)
        projected = self.projector(features).to(embedded.dtype)
        is_image = (input_ids == self.config.image_token_index).unsqueeze(-1)
        return embedded.masked_scatter(is_image, projected)

    def _hidden(self, embedded: Tensor, position_ids: Tensor | None = None) -> Tensor:
        # Given no mask and no cache, Transformers ends attention where positions start anew.
        read = self.language_model(inputs_embeds=embedded, position_ids=position_ids, use_cache=False)
        return read.last_hidden_state

    def _loss(self, hidden: Tensor, targets: Tensor, weights: Tensor, examples: Tensor) -> dict[str, Tensor]:
        # The vocabulary is most of the cost of a token: the head runs at the answer's places alone.
        is_answer = targets != sft.IGNORED
        weights, examples = weights[is_answer], examples[is_answer]
        sums = weights.new_zeros(int(examples.max()) + 1).index_add(0, examples, weights)
        weights = weights / sums[examples] / len(sums)
        logits = self.lm_head(hidden[is_answer]).float()
        losses = functional.cross_entropy(logits, targets[is_answer], reduction="none")
        right = (logits.detach().argmax(dim=1) == targets[is_answer]).float()
        return {"loss": (losses * weights).sum(), "tokens_right": (right * weights).sum()}


def _are_ended(written: Sequence[Tensor], end_id: int) -> bool:
    return bool(written) and bool((torch.stack(list(written)) == end_id).any(0).all())


def _example_of(input_ids: Tensor, position_ids: Tensor | None) -> Tensor:
    """For each token the number of its example; each example has an answer, so all numbers occur in one."""
    if position_ids is None:
        return torch.arange(len(input_ids), device=input_ids.device)[:, None].expand_as(input_ids)
    return ((position_ids == 0).flatten().cumsum(0) - 1).view_as(position_ids)


def _tower(tower: nn.Module, adapters: LoraConfig | None) -> nn.Module:
    if adapters is None:
        return tower.requires_grad_(False).eval()
    if isinstance(tower, FaceTower):
        raise CallerError(
            "the encoder of this model takes no adapters: its layers are convolutions, and what reads action "
            "units off it is fitted to it as it is; set encoder_layers = []"
        )
    return _adapted(tower.float(), adapters, "encoder")


def _adapted(part: nn.Module, adapters: LoraConfig, name: str) -> PeftModel:
    layers = {path.rsplit(".", 1)[-1] for path, layer in part.named_modules() if isinstance(layer, nn.Linear)}
    if missing := sorted(set(adapters.target_modules) - layers):
        raise CallerError(f"the {name} has no layer {missing[0]!r}; it has {sorted(layers)}")
    return get_peft_model(part, adapters)

"""The published ExpLLM at a tiny size: its tensors under their published names, and its forward pass.

Written from the description of the architecture, with nothing of the package: what the import is held to.
"""

import io
import json
import math
import pickle
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

WIDTH, DEPTH, PATCH_PX, OLD_SIDE, CROP_PX = 128, 2, 14, 5, 56
HIDDEN, MLP, LAYERS, HEADS, VOCAB, RANK, ALPHA = 64, 96, 2, 2, 420, 4, 12.0
SIDE = CROP_PX // PATCH_PX
Tensors = dict[str, Tensor]

CONFIG = {
    "architectures": ["LocLLMModel"],
    "model_type": "locllm",
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "lora_llm_enable": True,
    "lora_llm_r": RANK,
    "lora_llm_alpha": ALPHA,
    "lora_vision_enable": True,
    "lora_vision_r": RANK,
    "lora_vision_alpha": ALPHA,
    "crop_size": CROP_PX,
    "num_patches": SIDE**2,
    "dino_path": "./checkpoints/model_weights/dinov2_vitl14_pretrain.pth",
}


def tensors() -> Tensors:
    """Random weights of every published name, each large enough to be missed."""
    draw = torch.Generator().manual_seed(0)

    def some(*shape: int, about: float = 0.0) -> Tensor:
        return about + torch.randn(shape, generator=draw) / math.sqrt(shape[-1])

    return {
        **{f"vision_model.{name}": tensor for name, tensor in _tower(some).items()},
        "mm_projector.0.weight": some(HIDDEN, WIDTH),
        "mm_projector.0.bias": some(HIDDEN),
        "mm_projector.2.weight": some(HIDDEN, HIDDEN),
        "mm_projector.2.bias": some(HIDDEN),
        **_language_model(some),
    }


def _tower(some) -> Tensors:
    made = {
        "cls_token": some(1, 1, WIDTH),
        "mask_token": some(1, WIDTH),
        "pos_embed": 5 * some(1, 1 + OLD_SIDE**2, WIDTH),
        "patch_embed.proj.weight": some(WIDTH, 3, PATCH_PX, PATCH_PX),
        "patch_embed.proj.bias": some(WIDTH),
        "norm.weight": some(WIDTH, about=1),
        "norm.bias": some(WIDTH),
    }
    for number in range(DEPTH):
        shapes = {
            "norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,),
            "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,),
            "attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.qkv.bias": (3 * WIDTH,),
            "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,),
            "attn.lora_A_q": (RANK, WIDTH), "attn.lora_B_q": (WIDTH, RANK),
            "attn.lora_A_v": (RANK, WIDTH), "attn.lora_B_v": (WIDTH, RANK),
            "ls1.gamma": (WIDTH,), "ls2.gamma": (WIDTH,),
            "mlp.fc1.weight": (4 * WIDTH, WIDTH), "mlp.fc1.bias": (4 * WIDTH,),
            "mlp.fc2.weight": (WIDTH, 4 * WIDTH), "mlp.fc2.bias": (WIDTH,),
        }  # fmt: skip
        about = {"norm1.weight": 1, "norm2.weight": 1, "ls1.gamma": 0.5, "ls2.gamma": 0.5}
        made |= {
            f"blocks.{number}.{name}": some(*shape, about=about.get(name, 0))
            for name, shape in shapes.items()
        }
    return made


def _language_model(some) -> Tensors:
    made = {
        "model.embed_tokens.weight": 8 * some(VOCAB, HIDDEN),
        "model.norm.weight": some(HIDDEN, about=1),
        "lm_head.weight": some(VOCAB, HIDDEN),
    }
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        for name in "qkvo":
            made[f"{layer}.self_attn.{name}_proj.weight"] = some(HIDDEN, HIDDEN)
        for name in "qv":
            made[f"{layer}.self_attn.{name}_proj.lora_A"] = some(RANK, HIDDEN)
            made[f"{layer}.self_attn.{name}_proj.lora_B"] = some(HIDDEN, RANK)
        made[f"{layer}.self_attn.rotary_emb.inv_freq"] = _frequencies()
        made[f"{layer}.mlp.gate_proj.weight"] = some(MLP, HIDDEN)
        made[f"{layer}.mlp.up_proj.weight"] = some(MLP, HIDDEN)
        made[f"{layer}.mlp.down_proj.weight"] = some(HIDDEN, MLP)
        made[f"{layer}.input_layernorm.weight"] = some(HIDDEN, about=1)
        made[f"{layer}.post_attention_layernorm.weight"] = some(HIDDEN, about=1)
    return made


def logits(weights: Tensors, pixels: Tensor, ids: list[int], image_at: int) -> Tensor:
    """Logits after each token of one prompt, in which the picture's tokens stand before `ids[image_at]`.

    Args:
        pixels: 3 x CROP_PX x CROP_PX, normalised.
    """
    seen = patch_tokens(weights, pixels)
    seen = functional.gelu(_linear(weights, "mm_projector.0", seen))
    seen = _linear(weights, "mm_projector.2", seen)
    words = weights["model.embed_tokens.weight"][ids]
    return _decode(weights, torch.cat([words[:image_at], seen, words[image_at:]]))


def patch_tokens(weights: Tensors, pixels: Tensor) -> Tensor:
    """The tower's patch tokens after its final norm, places x WIDTH."""
    own = {name.removeprefix("vision_model."): t for name, t in weights.items()}
    patches = functional.conv2d(
        pixels[None], own["patch_embed.proj.weight"], own["patch_embed.proj.bias"], stride=PATCH_PX
    )
    hidden = torch.cat([own["cls_token"][0], patches[0].flatten(1).T]) + _positions(own["pos_embed"])
    for number in range(DEPTH):
        block = {
            name.removeprefix(f"blocks.{number}."): t
            for name, t in own.items()
            if name.startswith(f"blocks.{number}.")
        }
        hidden = hidden + block["ls1.gamma"] * _tower_attention(block, _layer_norm(block, "norm1", hidden))
        inner = functional.gelu(_linear(block, "mlp.fc1", _layer_norm(block, "norm2", hidden)))
        hidden = hidden + block["ls2.gamma"] * _linear(block, "mlp.fc2", inner)
    return _layer_norm(own, "norm", hidden)[1:]


def _positions(table: Tensor) -> Tensor:
    square = table[0, 1:].T.reshape(1, WIDTH, OLD_SIDE, OLD_SIDE)
    scale = (SIDE + 0.1) / OLD_SIDE
    small = functional.interpolate(square, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([table[0, :1], small[0].flatten(1).T])


def _tower_attention(block: Tensors, hidden: Tensor) -> Tensor:
    query, key, value = _linear(block, "attn.qkv", hidden).split(WIDTH, dim=1)
    scale = ALPHA / RANK
    query = query + scale * hidden @ block["attn.lora_A_q"].T @ block["attn.lora_B_q"].T
    value = value + scale * hidden @ block["attn.lora_A_v"].T @ block["attn.lora_B_v"].T
    return _linear(block, "attn.proj", _attend(query, key, value, WIDTH // 64, is_causal=False))


def _decode(weights: Tensors, hidden: Tensor) -> Tensor:
    for number in range(LAYERS):
        layer = {
            name.removeprefix(f"model.layers.{number}."): t
            for name, t in weights.items()
            if name.startswith(f"model.layers.{number}.")
        }
        read = _rms_norm(layer["input_layernorm.weight"], hidden)
        query, key, value = (_projected(layer, name, read) for name in "qkv")
        mixed = _attend(_turned(query), _turned(key), value, HEADS, is_causal=True)
        hidden = hidden + mixed @ layer["self_attn.o_proj.weight"].T
        read = _rms_norm(layer["post_attention_layernorm.weight"], hidden)
        gate = functional.silu(read @ layer["mlp.gate_proj.weight"].T)
        hidden = hidden + (gate * (read @ layer["mlp.up_proj.weight"].T)) @ layer["mlp.down_proj.weight"].T
    return _rms_norm(weights["model.norm.weight"], hidden) @ weights["lm_head.weight"].T


def _projected(layer: Tensors, name: str, read: Tensor) -> Tensor:
    own = read @ layer[f"self_attn.{name}_proj.weight"].T
    if name == "k":
        return own
    a, b = (layer[f"self_attn.{name}_proj.lora_{factor}"] for factor in "AB")
    return own + ALPHA / RANK * (read @ a.T @ b.T)


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, *, is_causal: bool) -> Tensor:
    tokens, width = query.shape
    query, key, value = (t.view(tokens, heads, -1).transpose(0, 1) for t in (query, key, value))
    scores = query @ key.transpose(1, 2) / math.sqrt(width // heads)
    if is_causal:
        scores = scores.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), -math.inf)
    return (scores.softmax(dim=2) @ value).transpose(0, 1).reshape(tokens, width)


def _turned(vectors: Tensor) -> Tensor:
    """Rotary positions: the halves of each head are real and imaginary parts."""
    tokens = len(vectors)
    angles = torch.arange(tokens)[:, None] * _frequencies()
    real, imaginary = vectors.view(tokens, HEADS, 2, -1).unbind(2)
    turned = torch.complex(real, imaginary) * torch.polar(torch.ones_like(angles), angles)[:, None]
    return torch.stack([turned.real, turned.imag], dim=2).reshape(tokens, -1)


def _frequencies() -> Tensor:
    half = HIDDEN // HEADS // 2
    return 10000 ** -(torch.arange(half) / half)


def _linear(weights: Tensors, name: str, hidden: Tensor) -> Tensor:
    return functional.linear(hidden, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _layer_norm(weights: Tensors, name: str, hidden: Tensor) -> Tensor:
    return functional.layer_norm(
        hidden, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6
    )


def _rms_norm(weight: Tensor, hidden: Tensor) -> Tensor:
    return weight * hidden * (hidden.pow(2).mean(dim=1, keepdim=True) + 1e-5).rsqrt()


TEXTS = (
    "Happiness Sadness Surprise Fear Disgust Anger Contempt Neutral",
    "Explain the expression. Name the expression. user assistant the face shows a strong lip corner puller",
)


def write_tokenizer(folder: Path) -> sentencepiece.SentencePieceProcessor:
    """A Llama tokenizer of VOCAB pieces, and the token that the published training adds behind them."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 50),
        model_writer=model,
        vocab_size=VOCAB,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    (folder / "added_tokens.json").write_text(f'{{"<im_patch>": {VOCAB}}}')
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def save(folder: Path, weights: Tensors, *, as_pickles: bool = False) -> Path:
    """A folder as published: config, tokenizer, weights in one file, or in torch's shards with an index."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_tokenizer(folder)
    if not as_pickles:
        whole = {name: tensor.contiguous() for name, tensor in weights.items()}
        save_file(whole, folder / "model.safetensors")
        return folder
    places = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(sorted(weights))}
    for file in set(places.values()):
        torch.save({name: weights[name] for name, place in places.items() if place == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "training_args.bin").write_bytes(pickle.dumps(Path("left by the trainer")))
    return folder

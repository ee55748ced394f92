"""Divides an Explainer's weights among workers, each of which holds all of a layer only while it computes."""

from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from expllm.models.explainer import Explainer


def shard(explainer: Explainer, device: str, world_size: int) -> nn.Module:
    """Divide it in place (FSDP2): each layer of the decoder by itself, and all that is left together.

    Args:
        device: "cpu" or "cuda", where the workers of torch's process group compute.
    """
    mesh = init_device_mesh(device, (world_size,))
    for layer in explainer.language_model.get_base_model().layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(explainer, mesh=mesh)
    for method in ("answers", "next_token_logits"):
        register_fsdp_forward_method(explainer, method)
    return explainer

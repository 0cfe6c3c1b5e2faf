"""AIM's parameter names, translated: its checkpoints fill our model."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from videoadapt.errors import UserError

_RENAMES = (  # in this order
    (r"^backbone\.", ""),
    (r"^cls_head\.fc_cls\.", "head."),
    (r"^class_embedding$", "backbone.cls_token"),
    (r"^positional_embedding$", "backbone.pos_embed"),
    (r"^conv1\.", "backbone.patch_embed.proj."),
    (r"^ln_pre\.", "backbone.norm_pre."),
    (r"^ln_post\.", "backbone.norm."),
    (r"^transformer\.resblocks\.", "backbone.blocks."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.T_Adapter_in\.", ".time_in."),
    (r"\.T_Adapter\.", ".time_out."),
    (r"\.S_Adapter\.", ".space_out."),
    (r"\.MLP_Adapter\.", ".mlp_side."),
    (r"\.D_fc1\.", ".down.0."),
    (r"\.D_fc2\.", ".up."),
)
_LEADING = {"backbone.cls_token": (1, 1, -1), "backbone.pos_embed": (1, -1)}


def convert_aim(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """AIM's ``ViT_CLIP`` (and head) state dict under the names and shapes of a ``Classifier``."""
    converted = {}
    for key, value in state.items():
        for pattern, name in _RENAMES:
            key = re.sub(pattern, name, key)
        converted[key] = value.unflatten(0, _LEADING[key]) if key in _LEADING and value.ndim < 3 else value
    if "temporal_embedding" in converted:
        converted["temporal_embedding"] = converted["temporal_embedding"].transpose(0, 1)  # (1 t d) to (t 1 d)
    return converted


def load_aim(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill a model, built with ``adapter`` in AIM's places, from AIM's state dict; every tensor must find its place.

    AIM's places: ``time_out``, ``space_out`` and ``mlp_side`` (with its ``scale``), and ``time_in`` for
    ``num_tadapter=2``.
    """
    weights = convert_aim(state)
    wanted = dict(model.named_parameters())
    if different := sorted(weights.keys() ^ wanted.keys()):
        raise UserError(f"AIM weights and model differ in {different[0]} and {len(different) - 1} more tensors")
    with torch.no_grad():
        for name, parameter in wanted.items():
            if weights[name].shape != parameter.shape:
                have, need = tuple(weights[name].shape), tuple(parameter.shape)
                raise UserError(f"AIM weights: {name} has shape {have}, the model needs {need}")
            parameter.copy_(weights[name])

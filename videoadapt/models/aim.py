"""AIM's parameter names, translated: its checkpoints fill our model."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from videoadapt.errors import UserError
from videoadapt.models.clip_names import to_timm
from videoadapt.models.weight_file import check_numbers

_ADAPTERS = (
    (".T_Adapter_in.", ".time_in."),
    (".T_Adapter.", ".time_out."),
    (".S_Adapter.", ".space_out."),
    (".MLP_Adapter.", ".mlp_side."),
    (".D_fc1.", ".down.0."),
    (".D_fc2.", ".up."),
)


def convert_aim(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """AIM's ``ViT_CLIP`` (and head) state dict under the names and shapes of a ``Classifier``."""
    head = {key: value for key, value in state.items() if key.startswith("cls_head.")}
    tower = to_timm({key.removeprefix("backbone."): value for key, value in state.items() if key not in head})
    converted = {key.replace("cls_head.fc_cls.", "head."): value for key, value in head.items()}
    if "temporal_embedding" in tower:
        converted["temporal_embedding"] = tower.pop("temporal_embedding").transpose(0, 1)  # (1 t d) to (t 1 d)
    for key, value in tower.items():
        for theirs, ours in _ADAPTERS:
            key = key.replace(theirs, ours)
        converted[f"backbone.{key}"] = value
    return converted


def load_aim(model: nn.Module, state: Mapping[str, Tensor], frozen: bool = True) -> None:
    """Fill a model, built with ``adapter`` in AIM's places, from AIM's state dict; every tensor must find its place.

    AIM's places: ``time_out``, ``space_out`` and ``mlp_side`` (with its ``scale``), and ``time_in`` for
    ``num_tadapter=2``.

    Args:
        frozen: fill the frozen backbone too; if not, it must hold the checkpoint's very numbers already.
    """
    weights = convert_aim(state)
    wanted = dict(model.named_parameters())
    if different := sorted(weights.keys() ^ wanted.keys()):
        raise UserError(f"AIM weights and model differ in {different[0]} and {len(different) - 1} more tensors")
    check_numbers(weights, "AIM weights")
    with torch.no_grad():
        for name, parameter in wanted.items():
            if weights[name].shape != parameter.shape:
                have, need = tuple(weights[name].shape), tuple(parameter.shape)
                raise UserError(f"AIM weights: {name} has shape {have}, the model needs {need}")
            if frozen or parameter.requires_grad:
                parameter.copy_(weights[name])
            elif not torch.equal(parameter, weights[name].to(parameter)):
                raise UserError(f"AIM weights: {name} is not that of the backbone; it was trained, or on another one")

"""open_clip's and OpenAI's names of an image tower, and timm's."""

from collections.abc import Mapping

from torch import Tensor

_BEGINNINGS = (
    ("class_embedding", "cls_token"),
    ("positional_embedding", "pos_embed"),
    ("conv1.", "patch_embed.proj."),
    ("ln_pre.", "norm_pre."),
    ("ln_post.", "norm."),
    ("transformer.resblocks.", "blocks."),
)
_PARTS = (
    (".attn.in_proj_", ".attn.qkv."),
    (".attn.out_proj.", ".attn.proj."),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)
_LEADING = {"cls_token": (1, 1, -1), "pos_embed": (1, -1)}  # dimensions that timm puts in front


def to_timm(tower: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of CLIP's image tower under timm's names; unknown names stay."""
    renamed = {_renamed(key, _BEGINNINGS, _PARTS): value for key, value in tower.items()}
    return {
        key: value.unflatten(0, _LEADING[key]) if key in _LEADING and value.ndim < 3 else value
        for key, value in renamed.items()
    }


def to_clip(vit: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of timm's vision transformer under CLIP's names."""
    swapped = [tuple((ours, theirs) for theirs, ours in pairs) for pairs in (_BEGINNINGS, _PARTS)]
    shaped = {key: value.flatten(0, len(_LEADING[key]) - 1) if key in _LEADING else value for key, value in vit.items()}
    return {_renamed(key, *swapped): value for key, value in shaped.items()}


def _renamed(key: str, beginnings: tuple, parts: tuple) -> str:
    for old, new in beginnings:
        if key.startswith(old):
            key = new + key[len(old) :]
            break
    for old, new in parts:
        key = key.replace(old, new)
    return key

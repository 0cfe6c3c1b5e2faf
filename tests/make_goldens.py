"""Make the golden files that come from other people's code: python tests/make_goldens.py

Needs peft (pip install peft) beside the project's own dependencies; the tests themselves need neither peft nor this
script. Every file holds inputs, weights and the outputs of an implementation that is not ours.
"""

from pathlib import Path

import numpy as np
import open_clip
import timm
import torch
from scipy.interpolate import BSpline
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden"


def formula(*shape: int, seed: int) -> Tensor:
    """Numbers in [-1, 1] that any machine and version gives again."""
    count = int(np.prod(shape))
    return torch.from_numpy(np.sin(np.arange(1, count + 1) * (seed + 0.7))).float().view(shape)


def fill(module: nn.Module) -> nn.Module:
    """Every parameter by ``formula``, at a scale that keeps activations ordinary; norms stay near one."""
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(sorted(module.named_parameters())):
            values = formula(*parameter.shape, seed=seed)
            parameter.copy_(1 + 0.1 * values if "norm" in name or "ln_" in name else 0.1 * values)
    return module


def lora() -> dict[str, Tensor]:
    """peft's LoRA on one linear, and on q, k and v as linears of their own."""
    from peft import LoraConfig, inject_adapter_in_model

    layers = nn.ModuleDict({name: nn.Linear(24, 24) for name in ("proj", "q", "k", "v")})
    fill(layers)
    weights = {f"{name}_{part}": getattr(layers[name], part).clone() for name in layers for part in ("weight", "bias")}
    settings = LoraConfig(r=3, lora_alpha=6, target_modules=list(layers), lora_dropout=0.0)
    tuned = fill(inject_adapter_in_model(settings, layers))
    with torch.no_grad():
        for name in layers:  # the frozen weights again: ``fill`` went over them too
            tuned[name].base_layer.weight.copy_(weights[f"{name}_weight"])
            tuned[name].base_layer.bias.copy_(weights[f"{name}_bias"])
            weights[f"{name}_a"] = tuned[name].lora_A["default"].weight.clone()
            weights[f"{name}_b"] = tuned[name].lora_B["default"].weight.clone()
        x = formula(5, 24, seed=99)
        return {"x": x, **weights, **{f"{name}_y": tuned[name](x) for name in layers}}


def kronecker() -> dict[str, Tensor]:
    """KARST's delta by torch.kron, for a plain and for a fused linear."""
    c, b = formula(2, 4, 4, seed=1), formula(2, 6, 3, seed=2)
    arrays = {"C": c, "B": b}
    for parts in (1, 3):
        a = formula(2, parts, 3, 8, seed=2 + parts)
        rows = [sum(torch.kron(c[i], a[i, part].T @ b[i].T) for i in range(2)) for part in range(parts)]
        arrays |= {f"A{parts}": a, f"delta{parts}": torch.cat(rows)}
    return arrays


def splines() -> dict[str, np.ndarray]:
    """SciPy's B-splines and their slopes on the uniform grid of 5 cells on [-1, 1], orders 2 and 3."""
    x = np.linspace(-2.5, 2.5, 501)
    arrays = {"x": x}
    for order in (2, 3):
        knots = np.arange(-order, 5 + order + 1) * 0.4 - 1
        elements = [BSpline.basis_element(knots[i : i + order + 2], extrapolate=False) for i in range(5 + order)]
        for name, functions in (("y", elements), ("dy", [element.derivative() for element in elements])):
            arrays[f"{name}{order}"] = np.nan_to_num(np.stack([function(x) for function in functions]))
    return arrays


def st_adapter() -> dict[str, Tensor]:
    """ST-Adapter by a depthwise 3D convolution over (frames, height, width), the class token left alone."""
    b, t, h, w, dim, width = 2, 5, 3, 4, 12, 6
    down, up = nn.Linear(dim, width), nn.Linear(width, dim)
    conv = nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0), groups=width)
    parts = fill(nn.ModuleDict({"down": down, "up": up, "conv": conv}))
    x = formula(b * t, 1 + h * w, dim, seed=50)
    with torch.no_grad():
        video = down(x[:, 1:]).view(b, t, h, w, width).permute(0, 4, 1, 2, 3)
        delta = up(conv(video).permute(0, 2, 3, 4, 1).reshape(b * t, h * w, width))
        y = torch.cat([torch.zeros(b * t, 1, dim), delta], 1)
        return {"x": x, "y": y, **{key: value.clone() for key, value in parts.state_dict().items()}}


CLIP_SIZES = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def zero_shot() -> dict[str, Tensor]:
    """Logits of a small open_clip CLIP for images against two prompts a class."""
    clip = fill(open_clip.CLIP(**CLIP_SIZES)).eval()
    tokenize = open_clip.get_tokenizer("ViT-B-16")
    images = formula(3, 3, 32, 32, seed=7)
    with torch.no_grad():
        classes = []
        for name in ("clap", "brush hair", "ride horse"):
            prompts = clip.encode_text(tokenize([f"a photo of {name}.", f"a video of {name}."]), normalize=True)
            classes.append(prompts.mean(0) / prompts.mean(0).norm())
        logits = clip.logit_scale.exp() * clip.encode_image(images, normalize=True) @ torch.stack(classes).T
        return {"images": images, "logits": logits, "image_features": clip.encode_image(images)}


TIMM_SIZES = {"embed_dim": 64, "depth": 2, "num_heads": 4, "patch_size": 8, "img_size": 32}
TIMM_MODELS = (
    "vit_base_patch16_clip_quickgelu_224",
    "vit_base_patch16_224",
    "vit_base_patch14_dinov2",
    "vit_base_patch14_reg4_dinov2",
    "vit_base_patch16_siglip_224",
)


def image_classification() -> dict[str, Tensor]:
    """Logits of timm's own classifiers, one of each family."""
    images = formula(2, 3, 32, 32, seed=11)
    arrays = {"images": images}
    for name in TIMM_MODELS:
        model = fill(timm.create_model(name, num_classes=5, **TIMM_SIZES)).eval()
        with torch.no_grad():
            arrays[name] = model(images)
    return arrays


def main() -> None:
    for name, make in {
        "peft_lora": lora,
        "kron_karst": kronecker,
        "scipy_splines": splines,
        "conv3d_st_adapter": st_adapter,
        "open_clip_zero_shot": zero_shot,
        "timm_classifiers": image_classification,
    }.items():
        torch.manual_seed(0)
        arrays = {
            key: np.asarray(value.detach() if isinstance(value, Tensor) else value) for key, value in make().items()
        }
        np.savez_compressed(GOLDEN / f"{name}.npz", **arrays)
        print(f"{name}.npz: {', '.join(arrays)}")


if __name__ == "__main__":
    main()

"""What is in a weight file: the state dict that its author's loader takes, plain numbers, or one line."""

import argparse

import open_clip
import pytest
import timm
import torch
from conftest import CLIP_B16 as B16
from conftest import TINY, tiny
from make_goldens import fill
from safetensors.torch import save_file

from videoadapt.builders import build_model
from videoadapt.errors import UserError
from videoadapt.models.backbone import load_backbone
from videoadapt.models.clip_names import to_clip
from videoadapt.models.export import open_clip_state
from videoadapt.models.weight_file import check_numbers


@pytest.fixture(scope="module")
def state():
    return fill(timm.create_model(B16, num_classes=0, **TINY)).state_dict()


def under(prefix, state, only=""):
    """``state`` with a prefix before those names that begin with ``only``."""
    return {prefix + key if key.startswith(only) else key: value for key, value in state.items()}


def raw(state):
    return {key: value + 1 for key, value in state.items()}


def averaged(state):
    model = timm.create_model(B16, num_classes=0, **TINY)
    model.load_state_dict(state)
    return torch.optim.swa_utils.AveragedModel(model).state_dict()


def training(state, **more):
    """A checkpoint as timm's train.py and DINO's write it."""
    steps = {0: {"exp_avg": torch.zeros(2), "step": torch.tensor(3.0)}}
    arguments = argparse.Namespace(model="vit_base", epochs=3)
    return {"epoch": 3, "model": state, "optimizer": {"state": steps}, "args": arguments, "metric": 0.5, **more}


TAKEN = {  # the weights and others; what the log must say
    "a training": (lambda s, r: training(s), ""),
    "timm's average": (lambda s, r: {"state_dict": r, "state_dict_ema": s}, "'state_dict_ema' is taken, not 'state_di"),
    "DeiT's average": (lambda s, r: training(r, model_ema=s), "the average 'model_ema' is taken, not 'model'"),
    "two averages": (lambda s, r: {"model_ema": r, "state_dict_ema": s}, "'state_dict_ema' is taken, not 'model_ema'"),
    "the average first": (lambda s, r: {"model_ema": s, "state_dict": r}, "'model_ema' is taken, not 'state_dict'"),
    "no average": (lambda s, r: {"state_dict": s, "state_dict_ema": None}, ""),
    "torchvision's average": (lambda s, r: training(r, model_ema=averaged(s)), "torch's AveragedModel"),
    "AveragedModel": (lambda s, r: averaged(s), "torch's AveragedModel"),
    "two plain ones": (lambda s, r: {"model": r, "state_dict": s}, "'state_dict' is taken, not 'model'"),
    "an average inside": (
        lambda s, r: {"checkpoint": {"model": r, "model_ema": s}},
        "'model_ema' is taken, not",
    ),
    "an average in a model": (
        lambda s, r: {"model": {"state_dict": r, "state_dict_ema": s}},
        "'state_dict_ema' is",
    ),
    "an average around": (lambda s, r: {"model": r, "model_ema": {"decay": 0.9, "module": s}}, "'model_ema' is taken"),
    "wrapped twice": (lambda s, r: {"state_dict": {"model": under("module.", s)}}, ""),
    "ema alone": (lambda s, r: {"ema": s, "updates": 3}, "'ema' is taken"),
    "an average in a list": (lambda s, r: training(s, ema={"shadow": [*r.values()]}), "'model' is taken, not 'ema'"),
    "DINO": (
        lambda s, r: {"student": under("module.backbone.", r), "teacher": under("backbone.", s), "args": None},
        "'teacher' is taken, not 'student'",
    ),
    "DINOv2": (lambda s, r: {"model": under("student.backbone.", r) | under("teacher.backbone.", s)}, "'teacher.backb"),
    "teacher alone": (lambda s, r: {"teacher": under("backbone.", s)}, "'teacher' is taken"),
    "student alone": (lambda s, r: {"student": s}, "'student' is taken"),
    "model_state_dict": (
        lambda s, r: {"model_state_dict": s, "optimizer_state_dict": {}},
        "'model_state_dict' is",
    ),
    "module": (lambda s, r: {"module": s}, "'module' is taken"),
    "DataParallel": (lambda s, r: under("module.", s), ""),
    "compile": (lambda s, r: under("_orig_mod.", s), ""),
    "compile in DataParallel": (lambda s, r: under("module._orig_mod.", s), ""),
    "DataParallel in compile": (lambda s, r: under("_orig_mod.module.", s), ""),
    "module on a part": (lambda s, r: under("module.", s, "blocks.1."), ""),
    "compiled blocks": (lambda s, r: {k.replace("blocks.1", "blocks.1._orig_mod"): v for k, v in s.items()}, ""),
    "FSDP": (lambda s, r: {k.replace("blocks", "_fsdp_wrapped_module.blocks"): v for k, v in s.items()}, ""),
    "backbone": (
        lambda s, r: under("backbone.", s) | {"head.weight": torch.ones(2)},
        "under 'backbone.' are taken, not",
    ),
    "Lightning": (lambda s, r: {"state_dict": under("model.", s), "epoch": 3}, "under 'model.' are taken"),
    "float64": (lambda s, r: {key: value.double() for key, value in s.items()}, ""),
    "queue and counters": (lambda s, r: s | {"queue_ptr": torch.zeros(1, dtype=torch.long)}, ""),
}


@pytest.mark.parametrize("case", TAKEN)
def test_the_weights_are_taken_that_their_own_loader_takes(case, state, tmp_path, caplog):
    content, said = TAKEN[case]
    torch.save(content(state, raw(state)), tmp_path / "w.pth")
    caplog.set_level("INFO", "videoadapt")
    found = load_backbone(B16, str(tmp_path / "w.pth"), options=TINY).state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    taken = [line for line in caplog.messages if "activation" not in line]
    assert said in "\n".join(taken) and bool(said) == bool(taken)
    timms = timm.create_model(B16, num_classes=0, **TINY)
    try:
        timm.models.load_checkpoint(timms, str(tmp_path / "w.pth"))
    except (AttributeError, RuntimeError):  # it knows fewer forms, and must agree on those it knows
        return
    assert all(torch.equal(found[key], value) for key, value in timms.state_dict().items())


def quantised(state, dtype):
    return {key: torch.quantize_per_tensor(value, 0.02, 0, dtype) for key, value in state.items()}


def one(state, value, key="blocks.1.mlp.fc1.weight"):
    return {**state, key: value(state[key])}


def cyclic(state):
    content = {}
    content["model"] = content
    return content


REFUSED = {
    "int8": (
        lambda s: {key: (value * 100).to(torch.int8) for key, value in s.items()},
        "cls_token holds int8; quant",
    ),
    **{
        str(dtype): (
            lambda s, dtype=dtype: one(s, lambda v: (v * 9).to(dtype)),
            "fc1.weight holds .*; quantised",
        )
        for dtype in (torch.uint8, torch.int64, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64)
    },
    "integers of another shape": (lambda s: one(s, lambda v: v.to(torch.int8)[:, ::2]), "fc1.weight holds int8"),
    "integer positions": (lambda s: one(s, lambda v: v.to(torch.int16), "pos_embed"), "pos_embed holds int16"),
    "qint8": (lambda s: quantised(s, torch.qint8), "holds qint8; quantised"),
    "one quint8": (lambda s: one(s, lambda v: torch.quantize_per_tensor(v, 0.1, 9, torch.quint8)), "holds quint8"),
    "sparse": (lambda s: one(s, lambda v: v.to_sparse()), "fc1.weight holds sparse_coo; .*packed"),
    "meta": (lambda s: one(s, lambda v: v.to("meta")), "fc1.weight holds nothing"),
    "NaN": (lambda s: one(s, lambda v: v * float("nan")), "NaN or infinity in blocks.1.mlp.fc1.weight"),
    "infinity": (lambda s: one(s, lambda v: v / 0), "NaN or infinity"),
    "beyond float32": (lambda s: one(s, lambda v: v.double() * 1e300), "NaN or infinity"),
    "scales beside": (
        lambda s: s | {"blocks.1.mlp.fc1.weight_scale": torch.ones(1)},
        "holds blocks.1.*scale, for",
    ),
    "registers without a place": (lambda s: s | {"reg_token": torch.ones(1, 4, 64)}, "holds reg_token, for which"),
    "an average by another name": (lambda s: {"model": s, "ema": s}, "holds several state dicts, 'model', 'ema'; save"),
    "mmengine": (lambda s: {"state_dict": s, "ema_state_dict": under("module.", s)}, "several .*'ema_state_dict'"),
    "I-JEPA": (lambda s: {"encoder": s, "target_encoder": s}, "several state dicts, 'encoder', 'target_encoder'"),
    "a teacher and others": (lambda s: {"teacher": s, "student": s, "model": s}, "several state dicts, 'teacher', 's"),
    "plain beside wrapped": (lambda s: {**s, "ema": s}, "several state dicts, 'ema', no wrapper"),
    "an empty average": (lambda s: {"model": s, "model_ema": {}}, "not a state dict of tensors"),
    "averages by prefix": (lambda s: under("model.", s) | under("model_ema.", s), "under 'model.', 'model_ema.'"),
    "MoCo": (
        lambda s: under("base_encoder.", s) | under("momentum_encoder.", s),
        "several image models, under 'base",
    ),
    "prefixed and not": (lambda s: under("ema.", s) | s, "several image models, under 'ema.', no prefix"),
    "twice the same": (lambda s: under("module.", s) | s, "holds both module.cls_token and cls_token"),
    "a prefix on a part": (lambda s: under("backbone.", s, "blocks.1."), "holds backbone.blocks.1.norm1.w"),
    "an unknown prefix on a part": (
        lambda s: under("a.", s, "patch"),
        "under 'a.': no weights for cls_token",
    ),
    "transformers": (lambda s: {"vit.embeddings.cls_token": s["cls_token"]}, "which holds vit.embeddings.cls_token"),
    "positions of another rank": (lambda s: one(s, lambda v: v[0, 0], "pos_embed"), "weights of another backbone"),
    "no tensor": (lambda s: one(s, lambda v: 3), "not a state dict of tensors: 'blocks.1.mlp.fc1.weight' holds int"),
    "packed": (lambda s: one(s, lambda v: (v, None)), "not a state dict of tensors: .* holds tuple"),
    "numbers as names": (lambda s: {3: s["cls_token"]}, "its keys are no names"),
    "cyclic": (cyclic, "not a state dict of tensors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_other_weights_is_one_line(case, state, tmp_path):
    content, message = REFUSED[case]
    torch.save(content(state), tmp_path / "w.pth")
    with pytest.raises(UserError, match=f"w.pth.*{message}") as error:
        load_backbone(B16, str(tmp_path / "w.pth"), options=TINY)
    assert "\n" not in str(error.value)


FLAT = ["int8", "torch.uint8", "torch.bool", "torch.float8_e4m3fn", "NaN", "averages by prefix", "a prefix on a part"]


@pytest.mark.parametrize("case", FLAT)
def test_safetensors_are_read_as_strictly(case, state, tmp_path):
    content, message = REFUSED[case]
    save_file({key: value.clone() for key, value in content(state).items()}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=message):
        load_backbone(B16, str(tmp_path / "w.safetensors"), options=TINY)


def test_a_prefix_in_safetensors_is_taken(state, tmp_path):
    save_file(under("_orig_mod.encoder.", state), tmp_path / "w.safetensors")
    found = load_backbone(B16, str(tmp_path / "w.safetensors"), options=TINY).state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_clips_image_tower_alone_is_taken(state, tmp_path):
    sizes = {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8}
    clip = open_clip.CLIP(32, sizes, {"width": 32, "heads": 2, "layers": 1}, quick_gelu=True).eval()
    torch.save({"model": under("backbone.", clip.visual.state_dict())}, tmp_path / "tower.pt")
    images = torch.randn(2, 3, 32, 32)
    vit = load_backbone(B16, str(tmp_path / "tower.pt"), options=TINY, num_classes=32).eval()
    with torch.no_grad():
        torch.testing.assert_close(vit(images), clip.encode_image(images), rtol=0, atol=1e-5)


def test_other_readers_of_weights_refuse_integers_too(state):
    clip = {f"visual.{key}": value for key, value in to_clip(state).items()}
    clip["positional_embedding"] = torch.ones(3, dtype=torch.int8)
    with pytest.raises(UserError, match="the CLIP to export into: positional_embedding holds int8"):
        open_clip_state(build_model(tiny(num_frames=None)), clip)
    check_numbers(state, "these are fine")

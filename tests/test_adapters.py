"""Laws that every catalogue entry obeys in every place it may take."""

import pytest
import torch
from conftest import TINY, perturb, tiny
from torch import nn

from videoadapt.adapters import SLOTS, TUNERS
from videoadapt.adapters.attach import merge_linears
from videoadapt.builders import build_model
from videoadapt.engine.checkpoint import load_trainable, read_checkpoint, save_checkpoint, trainable_tensors
from videoadapt.models.block import SLOTS as PLACES

SITES = ("time.qkv", "time.proj", "space.qkv", "space.proj", "mlp.fc1", "mlp.fc2")

SLOT_OPTIONS = {
    "adapter": [{"widths": [8]}, {"widths": [8, 6], "scale": 0.5}],
    "kan": [{"widths": [3]}, {"widths": [3], "spline_order": 2}],
    "adaptformer": [{}, {"width": 6, "scale": 2.0, "dropout": 0.1}],
    "st_adapter": [{"width": 6}, {"width": 6, "kernel": 5, "scale": 0.5}],
    "convpass": [{}, {"width": 4, "scale": 10.0, "dropout": 0.1}],
    "loki": [{"widths": [4, 9, 4]}, {"widths": [4, 9, 9, 4], "scale": 2.0}, {"widths": [4, 6], "grid_size": 3}],
}
TUNER_OPTIONS = {
    "lora": [{}, {"rank": 2, "alpha": 8.0}],
    "fact": [
        {},
        {"rank": 4, "scale": 2.0, "dropout": 0.1},
        {"rank": 4, "rst": "channel"},
        {"rank": 4, "rst": "scalar"},
    ],
    "ssf": [{}],
    "bitfit": [{}],
    "karst": [{"m": 4, "rank": 2}, {"rst": "channel"}, {"rst": "scalar", "kernels": 1}],
}
# Options with which a tuner may open the time branch alone.
STARTS_AT_ZERO = {"lora": {}, "karst": {"rst": "channel"}, "fact": {"rst": "scalar"}, "ssf": {}}


def _cases():
    """Every entry in every place: the model section it makes, and whether the result is all linears."""
    for kind, variants in SLOT_OPTIONS.items():
        for number, options in enumerate(variants):
            for slot in PLACES:
                if slot.startswith("time_") and getattr(SLOTS[kind], "needs_layout", False):
                    continue  # an error: see test_models.py
                slots = {slot: {"kind": kind, **options}}
                if slot == "time_in":  # needs a branch to stand in
                    slots["time_out"] = {"kind": "adapter", "widths": [4]}
                yield pytest.param({"slots": slots}, id=f"{kind}{number}-{slot}")
    for kind, variants in TUNER_OPTIONS.items():
        for number, options in enumerate(variants):
            for site in SITES:
                view, name = site.split(".")
                linears = {view: {name: {"kind": kind, **options}}}
                if view == "time":
                    beside = {"linears": linears, "slots": {"time_out": {"kind": "adapter", "widths": [4]}}}
                    if kind in STARTS_AT_ZERO:
                        proj = {"proj": {"kind": kind, **STARTS_AT_ZERO[kind], **options}}
                        alone = {"linears": {"time": {**linears["time"], **proj}}}
                        yield pytest.param(alone, id=f"{kind}{number}-{site}-alone")
                    yield pytest.param(beside, id=f"{kind}{number}-{site}")
                else:
                    yield pytest.param({"linears": linears}, id=f"{kind}{number}-{site}")


CASES = list(_cases())


def test_the_table_covers_the_catalogue():
    assert SLOT_OPTIONS.keys() == SLOTS.keys()
    assert TUNER_OPTIONS.keys() == TUNERS.keys()


@pytest.fixture(scope="module")
def clips():
    return torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("order", ["time_first", "space_first"])
@pytest.mark.parametrize("section", CASES)
def test_a_fresh_model_equals_the_frozen_one(section, order, clips):
    frozen, fresh = build_model(tiny()).eval(), build_model(tiny(order=order, **section)).eval()
    with torch.no_grad():
        torch.testing.assert_close(fresh.forward_features(clips), frozen.forward_features(clips), rtol=0, atol=1e-6)
        image = clips[:, :, 0]
        torch.testing.assert_close(fresh.forward_features(image), frozen.forward_features(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("section", CASES)
def test_only_what_was_added_learns(section, clips):
    averaged = {"global_pool": "avg", "fc_norm": False}  # the class token sees nothing the patches do last
    model = build_model(tiny(backbone_options={**TINY, **averaged}, **section))
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    before = {name: p.clone() for name, p in frozen.items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):  # what lies behind a zero gets its first gradient in the second or third step
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(clips), torch.tensor([0, 3])).backward()
        optimizer.step()
    assert all(p.grad is None for p in frozen.values())
    assert all(torch.equal(frozen[name], before[name]) for name in frozen)
    asleep = {name for name, p in model.named_parameters() if p.requires_grad and not p.grad.abs().sum() > 0}
    # one number added to every channel of the residual stream is taken out again by the next LayerNorm
    assert all(
        name.endswith(("proj.rst.s2", "fc2.rst.s2")) and model.get_parameter(name).numel() == 1 for name in asleep
    )


@pytest.mark.parametrize("section", CASES)
def test_a_checkpoint_of_the_trainables_rebuilds_the_model(section, clips, tmp_path):
    model = build_model(tiny(**section)).eval()
    perturb(model)
    save_checkpoint(tmp_path / "c.safetensors", trainable_tensors(model), {"classes": ["a"]})
    again = build_model(tiny(**section)).eval()
    tensors, about = read_checkpoint(tmp_path / "c.safetensors")
    assert about == {"classes": ["a"]}
    load_trainable(again, tensors, "c")
    with torch.no_grad():
        assert torch.equal(again(clips), model(clips))
        assert not torch.equal(model(clips), build_model(tiny(**section)).eval()(clips))


@pytest.mark.parametrize("section", [case for case in CASES if "linears" in case.values[0]])
def test_merged_equals_unmerged(section, clips):
    model = build_model(tiny(**section)).eval().double()
    perturb(model)
    with torch.no_grad():
        before = model(clips.double())
        merge_linears(model)
        torch.testing.assert_close(model(clips.double()), before, rtol=0, atol=1e-10)
        single = model.float()
        torch.testing.assert_close(single(clips).double(), before, rtol=0, atol=1e-5)
    assert not any(type(module) in TUNERS.values() for module in model.modules())


@pytest.mark.parametrize("kind", SLOTS)
@pytest.mark.parametrize("backbone", ["vit_base_patch16_siglip_224", "vit_base_patch14_reg4_dinov2"])
def test_slots_take_any_number_of_prefix_tokens(kind, backbone, clips):
    section = {"slots": {slot: {"kind": kind, **SLOT_OPTIONS[kind][0]} for slot in ("space_in", "mlp_side")}}
    frozen, fresh = (build_model(tiny(backbone=backbone, **changes)).eval() for changes in ({}, section))
    with torch.no_grad():
        torch.testing.assert_close(fresh.forward_features(clips), frozen.forward_features(clips), rtol=0, atol=1e-6)
    perturb(fresh)
    fresh(clips).sum().backward()
    assert all(p.grad.isfinite().all() for p in fresh.parameters() if p.requires_grad)


@pytest.mark.parametrize("kind", SLOTS)
def test_slots_run_in_bf16_autocast(kind, clips):
    first = "space_in" if getattr(SLOTS[kind], "needs_layout", False) else "time_out"
    spec = {"kind": kind, **SLOT_OPTIONS[kind][0]}
    model = build_model(tiny(slots={slot: spec for slot in (first, "space_out", "mlp_side")}))
    perturb(model)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(clips)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.float(), model(clips), rtol=0.1, atol=0.1)

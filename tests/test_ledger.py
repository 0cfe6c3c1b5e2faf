"""The papers' numbers, to the digit: trainable parameters and GFLOPs on ViT-B/16, without its weights."""

import json

import pytest
from conftest import TOOLS, tiny

from videoadapt.builders import build_model
from videoadapt.engine.checkpoint import checkpoint_bytes, save_checkpoint, trainable_tensors
from videoadapt.models.analysis import gflops_per_view, trainable_by_part

CONFIGS = TOOLS.parent / "configs"
VIDEO = {"num_frames": 32, "num_classes": 48, "unfreeze": ["norm"]}  # Diving48
IMAGE = {"num_frames": None, "num_classes": None}  # what is added alone, without a head
SWIN = {**IMAGE, "backbone": "swin_base_patch4_window7_224"}


def loki(*widths: int) -> dict:
    return {"kind": "loki", "widths": list(widths)}


def three(spec: dict) -> dict:
    return {"slots": {"time_out": spec, "space_out": spec, "mlp_side": spec}}


def two(spec: dict) -> dict:
    return {"slots": {"space_out": spec, "mlp_side": spec}}


def everywhere(spec: dict, **residual) -> dict:
    """The four linears of a block; ``residual`` options go to the two that write to the residual stream."""
    last = {**spec, **residual}
    return {"linears": {"space": {"qkv": spec, "proj": last}, "mlp": {"fc1": spec, "fc2": last}}}


ADAPTER, N16 = {"kind": "adapter", "widths": [192]}, loki(16, 33, 16)
LEDGER = {
    # LoKi, table 4
    "frozen space & MLP": ({**VIDEO}, 63_024),
    "+ Space LoKi": ({**VIDEO, "slots": {"space_out": N16}}, 494_064),
    "+ Time LoKi": ({**VIDEO, "slots": {"space_out": N16, "time_out": N16}}, 925_104),
    "+ MLP LoKi": ({**VIDEO, **three(N16)}, 1_356_144),
    # table 5
    "depth 3": ({**VIDEO, **three(loki(16, 33, 33, 16))}, 1_748_184),
    "depth 4": ({**VIDEO, **three(loki(16, 33, 33, 33, 16))}, 2_140_224),
    "depth 5": ({**VIDEO, **three(loki(16, 33, 33, 33, 33, 16))}, 2_532_264),
    # table 6
    "n = 8": ({**VIDEO, **three(loki(8, 17, 8))}, 631_248),
    "n = 32": ({**VIDEO, **three(loki(32, 65, 32))}, 3_358_896),
    "n = 48": ({**VIDEO, **three(loki(48, 97, 48))}, 6_098_928),
    "n = 64": ({**VIDEO, **three(loki(64, 129, 64))}, 9_576_240),
    # table 7
    "h = 4": ({**VIDEO, **three(loki(16, 4, 16))}, 1_022_064),
    "h = 8": ({**VIDEO, **three(loki(16, 8, 16))}, 1_068_144),
    "h = 16": ({**VIDEO, **three(loki(16, 16, 16))}, 1_160_304),
    "h = 64": ({**VIDEO, **three(loki(16, 64, 16))}, 1_713_264),
    # table 2
    "AIM": ({**VIDEO, **three(ADAPTER)}, 10_714_416),
    # table 1
    "image LoKi": ({**IMAGE, **two(loki(48, 97, 48))}, 4_023_936),
    "image Adapter": ({**IMAGE, **two(ADAPTER)}, 7_100_928),
    "image KAN": ({**IMAGE, **two({"kind": "kan", "widths": [11]})}, 4_055_040),
    "Prompt Tuning": ({**IMAGE, "prompt": {"tokens": 200}}, 153_600),
    "LoRA": ({**IMAGE, "linears": {"space": {"qkv": {"kind": "lora"}, "proj": {"kind": "lora"}}}}, 294_912),
    "Full-tuning": ({**IMAGE, "unfreeze": ["all"]}, 85_799_424),
    "Linear probe": ({**IMAGE, "num_classes": 10}, 7_690),
    # KARST, tables 1 to 3
    "KARST without RST": ({**IMAGE, **everywhere({"kind": "karst"})}, 301_056),
    "KARST": ({**IMAGE, **everywhere({"kind": "karst"}, rst="channel")}, 337_920),
    "KARST on Swin-B": ({**SWIN, **everywhere({"kind": "karst"}, rst="channel")}, 445_440),
    "BitFit": ({**IMAGE, "backbone": "vit_base_patch16_224", "unfreeze": ["bias"]}, 102_912),
    "BitFit on Swin-B": ({**SWIN, "unfreeze": ["bias"]}, 200_760),
    "AdaptFormer": ({**IMAGE, "slots": {"mlp_side": {"kind": "adaptformer", "width": 8}}}, 156_768),
    # not printed to the digit anywhere: our own formulas
    "FacT": ({**IMAGE, **everywhere({"kind": "fact"})}, 12 * 12 * 16**2 + 2 * 768 * 16),
    "FacT + RST": ({**IMAGE, **everywhere({"kind": "fact"}, rst="scalar")}, 61_440 + 12 * 2 * 2),
    "VPT deep": ({**IMAGE, "prompt": {"tokens": 10, "deep": True}}, 92_160),
}
PRINTED = {  # millions, to the decimals the papers print
    "+ Space LoKi": "0.5",
    "+ Time LoKi": "0.9",
    "+ MLP LoKi": "1.4",
    "depth 3": "1.7",
    "depth 4": "2.1",
    "depth 5": "2.5",
    "n = 8": "0.6",
    "n = 32": "3.4",
    "n = 48": "6.1",
    "n = 64": "9.6",
    "h = 4": "1.0",
    "h = 8": "1.1",
    "h = 16": "1.2",
    "h = 64": "1.7",
    "AIM": "11",
    "image LoKi": "4",
    "image Adapter": "7",
    "image KAN": "4",
    "LoRA": "0.29",
    "Full-tuning": "85.8",
    "KARST without RST": "0.30",
    "KARST": "0.34",
    "KARST on Swin-B": "0.45",
    "BitFit": "0.10",
    "BitFit on Swin-B": "0.20",
    "AdaptFormer": "0.16",
}  # fmt: skip  KARST's 337,920 is printed as 0.33, cut off rather than rounded


def _meta(section: dict):
    return build_model(tiny(backbone_options={}, **section), device="meta")


def _count(name: str) -> int:
    return sum(p.numel() for p in _meta(LEDGER[name][0]).parameters() if p.requires_grad)


@pytest.mark.parametrize("name", LEDGER)
def test_a_published_count_is_exact(name):
    model = _meta(LEDGER[name][0])
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count == LEDGER[name][1]
    assert sum(trainable_by_part(model).values()) == count


@pytest.mark.parametrize("name", PRINTED)
def test_a_count_rounds_to_what_the_paper_prints(name):
    decimals = len(PRINTED[name].partition(".")[2])
    assert f"{LEDGER[name][1] / 1e6:.{decimals}f}" == PRINTED[name]


def test_the_papers_ratios():
    assert _count("n = 48") / _count("AIM") == pytest.approx(0.5692, abs=5e-5)  # "56.9 %"
    assert _count("image LoKi") / _count("image Adapter") == pytest.approx(0.5667, abs=5e-5)  # "56.7 %"
    assert _count("image LoKi") / _count("image KAN") == pytest.approx(0.9923, abs=5e-5)  # "99.2 %"


def test_parts_add_up_and_are_named_by_place():
    section = {
        **VIDEO,
        "slots": {"time_out": N16, "mlp_side": ADAPTER},
        "linears": {"time": {"qkv": {"kind": "lora"}}, "mlp": {"fc1": {"kind": "karst", "rst": "scalar"}}},
        "prompt": {"tokens": 3},
    }
    assert trainable_by_part(_meta(section)) == {
        "temporal_embedding": 32 * 768,
        "time_out": 431_040,
        "mlp_side": 12 * (2 * 768 * 192 + 192 + 768),
        "time.qkv": 12 * 3 * 4 * 2 * 768,
        "mlp.fc1": 12 * (7_808 + 2),
        "norm": 1_536,
        "head": 48 * 769,
        "prompt": 3 * 768,
    }


@pytest.mark.parametrize(
    ("section", "frames", "published"),
    [
        ({"num_frames": 8, **three(ADAPTER)}, 8, 202),  # AIM, 606 for 8x3x1
        ({"num_frames": 16, **three(ADAPTER)}, 16, 404),
        ({"num_frames": 32, **three(ADAPTER)}, 32, 808),
        ({**IMAGE}, None, 17.58),  # ViT-B/16
        ({**SWIN}, None, 15.4),  # Swin-B
    ],
)
def test_gflops_match_the_published(section, frames, published):
    assert gflops_per_view(_meta(section), frames, 224) == pytest.approx(published, rel=0.02)


def test_the_size_of_a_checkpoint_is_that_of_the_file(tmp_path):
    model = build_model(tiny(**three(loki(4, 9, 4)), unfreeze=["norm"]))
    about = {"config": {"model": 1}, "classes": ["a", "b"]}
    save_checkpoint(tmp_path / "c.safetensors", trainable_tensors(model), about)
    shapes = trainable_tensors(build_model(tiny(**three(loki(4, 9, 4)), unfreeze=["norm"]), device="meta"))
    # the header numbers the bytes of each tensor: a few digits fewer where the tensors are empty
    assert checkpoint_bytes(shapes, about) == pytest.approx((tmp_path / "c.safetensors").stat().st_size, rel=0.02)


def test_analyze_prints_what_the_contract_says(tool, tmp_path):
    diving = CONFIGS / "diving48/loki_clip_b16_32f.yaml"
    code, out, err = tool("analyze", diving, "--json", "model.num_frames=8", "test.views=8x3x1")
    row = json.loads(out)
    assert code == 0 and not err
    assert row["trainable"] == 6_098_928 - 24 * 768 and row["total"] - row["trainable"] == 85_799_424 - 1_536
    assert row["trainable_by_part"]["time_out"] == 2_011_968
    assert row["gflops_per_test"] == pytest.approx(3 * row["gflops_per_view"], abs=0.01)
    assert 0.95 < row["checkpoint_bytes"] / (4 * row["trainable"]) < 1.05
    code, out, _ = tool("analyze", diving, CONFIGS / "demo/loki_mini_8f.yaml")
    assert code == 0 and "6,098,928" in out and "demo/loki_mini_8f" in out and "780.0" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.num_frames=8"], "name at least one config"),
        (["nothing.yaml"], "nothing.yaml: there is no such file, and no packaged config has this name"),
        ([CONFIGS / "demo/loki_mini_8f.yaml", "model.slot=1"], "unknown key 'slot'; did you mean 'slots'?"),
    ],
)
def test_a_mistake_in_analyze_is_one_line(arguments, message, tool):
    code, _, err = tool("analyze", *arguments)
    assert code == 2 and message in err and err.count("\n") == 1

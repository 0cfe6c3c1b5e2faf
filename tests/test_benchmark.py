"""The benchmark's form, and that its peers are what they say; its figures are for people to look at."""

import json
from shutil import which

import numpy as np
import pytest
import torch
import yaml
from conftest import GOLDEN, TINY, encode, numbered_frames, perturb
from torch import nn

from videoadapt.adapters import KANLinear, KarstLinear
from videoadapt.benchmarks import decode
from videoadapt.benchmarks.models import ModelBench
from videoadapt.benchmarks.peers import Aim, BuiltKarstLinear, EfficientKanLinear
from videoadapt.engine.cost import interleaved, step_seconds
from videoadapt.video import open_video


@pytest.fixture
def clip(tmp_path):
    return encode(tmp_path / "clip.mp4", numbered_frames(30, 64, 80), "libx264", b_frames=2, preset="ultrafast")


def _check(rows):
    for row in rows:
        assert row["time_ratio"] > 0 and len(row["seconds"]) == len(row["against_seconds"]) == 3
        assert row["name"] != row["against"]
        if row["memory_ratio"] is not None:
            assert row["memory_ratio"] == round(row["bytes"] / row["against_bytes"], 3)
    return {(row["name"], row["against"]): row for row in rows}


def test_decode_prints_rows_of_both_sides(tool, clip):
    code, out, err = tool("benchmark", "decode", "--video", clip, "--rounds", "1", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["machine"]["cores"] >= 1 and result["machine"]["threads"] == 1
    assert result["machine"]["precision"] == ("fp32" if not torch.cuda.is_available() else "bf16")
    against = {peer for _, peer in _check(result["rows"])}
    assert against >= {"PyAV, every frame to rgb", "PyAV, one forward pass", "decord alone", "data.decoder=decord"}
    assert against >= {"FFmpeg's scaler", "the original"}


def test_views_are_read_and_scored_by_both_sides(tool, clip):
    code, out, err = tool("benchmark", "views", "--video", clip, "--rounds", "1", "--json")
    assert code == 0, err
    rows = _check(json.loads(out)["rows"])
    assert rows["views[8x3x3]", "one decode for each view"]["memory_ratio"] < 0.5
    assert ("test[8x3x3]", "one decode and forward for each view") in rows


@pytest.mark.skipif(not which("g++"), reason="torch.compile needs g++")
def test_adapters_are_compared_eager_and_compiled(tool):
    code, out, err = tool("benchmark", "adapters", "--tokens", "512", "--rounds", "1", "--json")
    assert code == 0, err
    rows = _check(json.loads(out)["rows"])
    assert rows["loki[48,97,48]", "adapter[192]"]["memory_ratio"] <= 0.85
    assert rows["loki[16,33,16]", "adapter[192]"]["memory_ratio"] <= 0.75
    assert rows["loki[48,97,48]", "recursive splines[48,97,48]"]["memory_ratio"] <= 0.1
    assert rows["loki[48,97,48] compiled", "adapter[192] compiled"]["memory_ratio"] <= 0.9
    assert ("karst[2,8,8] qkv", "karst[2,8,8] by its weight delta") in rows


def test_models_are_compared_with_their_peers():
    bench = ModelBench(torch.randn(1, 3, 4, 32, 32), options=TINY)
    steps = _check(bench.steps(1))
    assert steps["adapter[192]", "AIM's own block[192]"]["memory_ratio"] < 1
    assert steps["adapter[192] block checkpointing", "adapter[192]"]["memory_ratio"] < 0.5
    forwards = _check(bench.forwards(1))
    assert {name for name, _ in forwards} >= {"loki[48,97,48] step", "karst[2,8,8] step", "lora[4] step"}
    assert {name for name, _ in _check(bench.merged(1))} == {
        f"{n} merged" for n in ("karst[2,8,8]", "lora[4]", "fact[16]")
    }


def test_any_two_configs_are_compared(tool, tmp_path):
    for name, slots in (("a", {"mlp_side": {"kind": "loki", "widths": [4, 9, 4]}}), ("b", {})):
        model = {"backbone_options": TINY, "pretrained": "none", "backbone": "vit_base_patch16_224", "num_frames": 4}
        config = {"model": {**model, "slots": slots}, "data": {"num_classes": 5}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    configs = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    code, out, err = tool("benchmark", "model", "--compare", *configs, "--rounds", "1", "--json")
    assert code == 0, err
    assert set(_check(json.loads(out)["rows"])) == {tuple(map(str, configs))}


def test_the_table_names_the_machine(tool, clip):
    code, out, _ = tool("benchmark", "decode", "--video", clip, "--rounds", "1")
    assert code == 0 and out.startswith("machine: processor ") and "| pyav[8 of 30]" in out


def test_the_videos_made_for_it_are_what_they_say(tmp_path):
    with open_video(decode.write_clip(tmp_path / "a.mp4", 96, 128, gop=10, frames=25)) as video:
        assert video.num_frames == 25 and video.fps == 30
        assert video.frames([0, 24]).shape == (2, 96, 128, 3)


def test_sides_take_turns_after_a_call_to_warm_up():
    calls = []
    times = interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert all(seconds.least <= seconds.median <= seconds.most for seconds in times.values())


def test_a_timed_step_is_a_training_step():
    model = nn.Linear(3, 2)
    before = model.weight.clone()
    assert step_seconds({"a": model}, torch.randn(4, 3), rounds=1)["a"] > 0
    assert not torch.equal(model.weight, before) and model.weight.grad is None


# --- the peers


def test_our_aim_is_aims():
    golden = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "aim_small.npz").items()}
    aim = Aim(dim=64, depth=3, heads=4, patch=8, size=32, frames=4, width=16, scale=0.5)
    names = {"transformer.": "", "D_fc1": "down.0", "D_fc2": "up"}
    state = {}
    for key, value in golden.items():
        for theirs, ours in names.items():
            key = key.replace(theirs, ours)
        state[key.removeprefix("w:")] = value
    x, y = state.pop("x"), state.pop("y")
    aim.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(aim.features(x).transpose(1, 2), y, rtol=0, atol=1e-5)


def test_the_other_peers_compute_what_ours_do():
    x = torch.randn(5, 24)
    ours = KANLinear(24, 7)
    theirs = EfficientKanLinear(24, 7)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(theirs(x), ours(x), rtol=1e-4, atol=1e-5)
    karst = KarstLinear(nn.Linear(24, 72), m=4, rank=3)
    perturb(karst)
    built = BuiltKarstLinear(nn.Linear(24, 72), m=4, rank=3)
    built.load_state_dict(karst.state_dict())
    torch.testing.assert_close(built(x), karst(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decode", "--rounds", "0"], "--rounds: 0 is below 1"),
        (["decode", "--threads", "0"], "--threads: 0 is below 1"),
        (["adapters", "--tokens", "7"], "--tokens: 7 is below 8"),
        (["gpu", "--device", "cpu"], "gpu: needs a GPU, and --device is cpu"),
        (["cook"], "invalid choice: 'cook'"),
        (["decode", "--video", "nowhere.mp4"], "nowhere.mp4: no such video"),
        (["views", "--video", "nowhere.mp4"], "nowhere.mp4: no such video"),
        (["views", "--compare", "a.yaml", "b.yaml"], "--compare: is for model, not for views"),
        (["model", "--compare", "a.yaml", "b.yaml"], "a.yaml"),
    ],
)
def test_a_wrong_call_is_one_line(tool, arguments, message):
    code, _, err = tool("benchmark", *arguments)
    assert code == 2 and message in err

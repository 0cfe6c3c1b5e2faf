"""Several view protocols in one pass: each forward once, and the answers of separate tests."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from conftest import TOOLS
from torch import nn

from videoadapt.builders import parse_views
from videoadapt.data.datasets import TestSample
from videoadapt.data.views import Views, plan
from videoadapt.engine.evaluate import Evaluator
from videoadapt.errors import UserError

TestSample.__test__ = False
CONFIG = TOOLS.parent / "configs" / "demo" / "loki_mini_8f.yaml"
CPU = torch.device("cpu")


def test_a_plan_numbers_clips_and_crops():
    found = plan([Views(8), Views(8, 3, 1), Views(8, 3, 3), Views(16, 1, 3)])
    assert found.draws == ((8, 1), (8, 3), (16, 1)) and found.crops == 3
    assert found.selections == {
        "8x1x1": ((0, 1),),  # the middle crop
        "8x3x1": ((1, 1), (2, 1), (3, 1)),
        "8x3x3": tuple((clip, crop) for clip in (1, 2, 3) for crop in (0, 1, 2)),
        "16x1x3": ((4, 0), (4, 1), (4, 2)),
    }
    assert plan([Views(8, 2)]).selections == {"8x2x1": ((0, 0), (1, 0))}


@pytest.mark.parametrize(
    ("views", "steps"),
    [
        (Views(8), {"8x1x1": [0]}),
        (Views(8, 3), {"8x1x1": [1], "8x2x1": [0, 2], "8x3x1": [0, 1, 2]}),
        (Views(4, 10), {"4x1x1": [5], "4x2x1": [2, 7], "4x4x1": [1, 3, 6, 8], "4x8x1": [0, 1, 3, 4, 5, 6, 8, 9]}),
    ],
)
def test_steps_take_evenly_spread_clips(views, steps):
    selections = plan([views], steps=True).selections
    for name, clips in steps.items():
        assert [clip for clip, _ in selections[f"{name} of {views}"]] == clips
    assert selections[f"{views} of {views}"] == selections[str(views)]


def test_steps_go_from_the_middle_crop_to_all():
    names = [name for name in plan([Views(8, 2, 3)], steps=True).selections if " of " in name]
    assert names == [f"8x{clips}x{crops} of 8x2x3" for crops in (1, 3) for clips in (1, 2)]


class Weighing(nn.Module):
    """A frame's feature is its mean; a clip's logits depend on the order of its frames."""

    def __init__(self):
        super().__init__()
        self.embedded, self.classified = 0, 0

    def embed(self, frames):
        self.embedded += len(frames)
        return frames.float().mean((1, 2, 3))[:, None]

    def classify(self, embedded):
        self.classified += len(embedded)
        steps = torch.arange(1, embedded.shape[1] + 1)[None, :, None]
        mean = (embedded * steps).mean(1) / 40
        return torch.cat([mean, -mean, mean.sin()], 1)


def _sample(index, clips, seed):
    windows = tuple((slice(0, 4), slice(left, left + 4)) for left in (0, 2, 4))
    frames = torch.randint(0, 256, (24, 3, 4, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return TestSample(index, index % 3, frames, [torch.tensor(clip) for clip in clips], windows)


def test_a_sweep_gives_what_separate_tests_give_and_computes_no_view_twice():
    protocols = [Views(3), Views(3, 2, 1), Views(3, 2, 3), Views(5, 1, 1)]
    found = plan(protocols)
    clips = [[2, 8, 14], [2, 8, 14], [4, 10, 16], [0, 1, 2, 3, 4]]  # the single clip is the first of the two
    samples = [_sample(index, clips, index) for index in range(3)]
    model = Weighing()
    swept = Evaluator(CPU, batch_size=2).sweep(model, samples, 3, found.selections)
    assert model.classified == 3 * (3 * 2 + 1)  # videos, three crops of two clips, and the middle one of the long clip
    assert model.embedded == 3 * (3 * 6 + 3)  # frames 2 and 4 are of short clips and of the long one
    for index, sample in enumerate(samples):
        for name, views in found.selections.items():
            logits, alone = [], Weighing()
            for clip, crop in views:
                rows, columns = sample.windows[crop]
                frames = sample.frames[sample.clips[clip]][..., rows, columns]
                logits.append(alone.classify(alone.embed(frames)[None]))
            expected = torch.cat(logits).softmax(1).mean(0)
            np.testing.assert_allclose(swept[name].scores[index], expected, atol=1e-6)


def test_unreadable_videos_count_in_every_protocol():
    samples = [_sample(0, [[0, 1]], 0), TestSample(1, 2, unreadable="x.mp4: broken")]
    selections = plan([Views(2), Views(2, 1, 3)]).selections
    swept = Evaluator(CPU, on_bad="count_wrong").sweep(Weighing(), samples, 2, selections)
    for predictions in swept.values():
        assert predictions.results()["num_unreadable"] == 1 and np.isneginf(predictions.scores[1, 2])


def test_the_program_reports_every_protocol(demo, tool, tmp_path):
    data = [f"data.{key}={demo / 'data' / name}" for key, name in (("val", "val.csv"), ("root", ""))]
    data.append(f"data.classes={demo / 'data' / 'classes.txt'}")
    run = partial(tool, "test", CONFIG, "--checkpoint", demo / "loki" / "last.safetensors", *data)
    names = ["8x1x1", "8x2x1", "8x2x3", "4x1x1"]
    code, out, err = run("--views", ",".join(names), f"run.out_dir={tmp_path / 'all'}")
    assert code == 0, err
    results = json.loads((tmp_path / "all" / "results.json").read_text())
    assert [row["views"] for row in results["protocols"]] == names and results["views"] == "4x1x1"
    assert all(f"| {name} |" in out for name in names)
    for name in names:
        alone = tmp_path / name
        code, _, err = run("--views", name, f"run.out_dir={alone}")
        assert code == 0, err
        file = "predictions.npz" if name == names[-1] else f"predictions_{name}.npz"
        swept, single = (np.load(path)["scores"] for path in (tmp_path / "all" / file, alone / "predictions.npz"))
        np.testing.assert_allclose(swept, single, atol=2e-6)


@pytest.mark.parametrize("text", ["8x3", "8x3x2", "8x1x1,", "8x1x1;8x3x1", "0x1x1"])
def test_a_wrong_protocol_is_one_line(text):
    with pytest.raises(UserError, match=f"views {text}: views are frames x clips x crops with 1 or 3 crops"):
        parse_views(text)

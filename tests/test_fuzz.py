"""Hostile and damaged files: nothing in them runs, and each is taken or refused in one line."""

import os
import pickle
import random
import zipfile

import pytest
import torch
import yaml
from chaos import write_problem
from conftest import encode, numbered_frames
from fuzz_inputs import fuzz, outcome
from safetensors.torch import load_file, save_file

import videoadapt
from videoadapt.config import load_config
from videoadapt.engine.folder import read_state
from videoadapt.models.backbone import MINI, load_backbone
from videoadapt.models.pretrained import read_state_dict
from videoadapt.video import BACKENDS, VideoReadError, open_video


def test_hundreds_of_mutated_files(tmp_path):
    counts = fuzz(tmp_path, 900, random.Random(5))
    assert all(of_kind[2] for of_kind in counts.values()) and sum(of_kind[0] for of_kind in counts.values()) > 30
    assert not (tmp_path / "executed").exists()


class _Code:
    """A pickle that runs a command when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


READERS = {
    "resume state": read_state,
    "weight file": read_state_dict,
    "checkpoint": videoadapt.load_checkpoint,
    "config": load_config,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", ["pickle", "torch", "old torch", "zip", "TorchScript", "yaml"])
def test_code_in_a_file_does_not_run(tmp_path, reader, form):
    path, marker = tmp_path / "hostile.pt", tmp_path / "executed"
    content = {"state_dict": {"a": torch.ones(2)}, "x": _Code(marker)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    elif form == "yaml":
        path.write_text(f"data: !!python/object/apply:os.system ['touch {marker}']\n")
    elif form == "TorchScript":
        _scripted(marker).save(str(path))
    elif form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(content))
            archive.writestr("archive/version", "3\n")
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    code, err = outcome(READERS[reader], path)
    assert code == 2 and err.count("\n") == 1 and str(path) in err
    assert not marker.exists()
    if form == "TorchScript":
        torch.jit.load(path)
    elif form == "pickle":
        pickle.loads(path.read_bytes())
    elif form != "yaml":
        torch.load(path, weights_only=False)
    assert marker.exists() == (form != "yaml")  # it would have run


def _scripted(marker):
    """A module that writes a file when TorchScript loads it."""

    class Hostile(torch.nn.Module):
        def __init__(self, place):
            super().__init__()
            self.place = place
            self.weight = torch.nn.Parameter(torch.ones(2))

        @torch.jit.export
        def __getstate__(self):
            return self.place, self.weight, self.training

        @torch.jit.export
        def __setstate__(self, state: tuple[str, torch.Tensor, bool]):
            self.place = state[0]
            self.weight = state[1]
            self.training = state[2]
            torch.save(self.weight, self.place)

        def forward(self, x):
            return x

    return torch.jit.script(Hostile(str(marker)))


def test_torchscript_gives_its_parameters_and_buffers(tmp_path):
    class Part(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.LayerNorm(5))
            self.register_buffer("mask", torch.eye(3, dtype=torch.float64))
            self.turned = torch.nn.Parameter(torch.rand(2, 3).half().t())
            self.sizes, self.name = [1, 2], "x"

        def forward(self, x):
            return self.inner(x)

    modules = {"script": torch.jit.script(Part()), "trace": torch.jit.trace(Part(), torch.rand(1, 3, 4, 6))}
    for kind, module in modules.items():
        module.save(str(tmp_path / f"{kind}.pt"))
        found, expected = read_state_dict(tmp_path / f"{kind}.pt"), module.state_dict()
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)


BOMBS = {
    "aliases of aliases": "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "itself": "data: &x {y: *x}\n",
    "depth": "data: " + "[" * 5000,
    "depth of keys": "data: " + "{a: " * 5000,
    "dots": "a" + ".a" * 5000 + ": 1",
    "a number": f"optim: {{epochs: {'9' * 400}}}\ndata: {{num_classes: 3}}",
    "a long number": f"optim: {{lr: {'9' * 5000}}}\ndata: {{num_classes: 3}}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_few_lines_that_stand_for_millions(tmp_path, name):
    (tmp_path / "c.yaml").write_text(BOMBS[name])
    code, err = outcome(load_config, tmp_path / "c.yaml")
    assert code == 2 and err.count("\n") == 1 and len(err) < 1500


def test_aliases_are_for_those_who_repeat_themselves(tmp_path):
    text = "model: {slots: {time_out: &l {kind: loki, widths: [4, 9, 4]}, mlp_side: *l}}\ndata: {num_classes: 3}\n"
    (tmp_path / "c.yaml").write_text(text)
    slots = load_config(tmp_path / "c.yaml").model.slots
    assert slots.mlp_side == slots.time_out == {"kind": "loki", "widths": [4, 9, 4]}


def _changed(path, change):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    save_file(change(load_file(path)), path, metadata=about)


NUMBERS = {
    "NaN": (lambda t: {**t, "head.bias": t["head.bias"] * float("nan")}, "NaN or infinity in head.bias"),
    "infinity": (lambda t: {**t, "head.bias": t["head.bias"] + float("inf")}, "NaN or infinity in head.bias"),
    "shape": (lambda t: {**t, "head.bias": torch.zeros(9)}, "has other shapes for head.bias"),
    "fewer": (lambda t: {key: t[key] for key in t if key != "head.bias"}, "has no weights for head.bias"),
    "more": (lambda t: {**t, "x": torch.zeros(1)}, "holds weights the model has no place for: x"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_checkpoint_with_other_numbers_is_refused(tmp_path, tool, name):
    config = write_problem(tmp_path, videos=4, epochs=1)
    assert tool("train", config, f"run.out_dir={tmp_path / 'run'}", "data.workers=0")[0] == 0
    change, message = NUMBERS[name]
    path = tmp_path / "run" / "last.safetensors"
    _changed(path, change)
    code, _, err = tool("test", config, "--checkpoint", path, f"run.out_dir={tmp_path / 'out'}")
    assert code == 2 and message in err and err.count("\n") == 1
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_backbone_of_nan_is_refused(tmp_path):
    state = load_backbone(MINI, "embedded").state_dict()
    state["blocks.0.mlp.fc1.bias"][3] = float("nan")
    torch.save(state, tmp_path / "w.pt")
    code, err = outcome(lambda path: load_backbone(MINI, str(path)), tmp_path / "w.pt")
    assert code == 2 and "w.pt: NaN or infinity in blocks.0.mlp.fc1.bias; the file is damaged" in err


def test_a_flipped_bit_in_a_torch_file_is_found(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(1000)}, path)
    content = bytearray(path.read_bytes())
    place = content.index(b"\0" * 2000) + 100
    content[place] ^= 1
    path.write_bytes(content)
    code, err = outcome(read_state_dict, path)
    assert code == 2 and "not a readable weight file" in err and "is damaged" in err


def test_a_config_can_be_written_and_read_again(tmp_path):
    """What train.py leaves in config.yaml is what it read."""
    config = load_config(write_problem(tmp_path))
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(config.model_dump(), sort_keys=False))
    assert load_config(tmp_path / "again.yaml") == config


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:1.0,\na.mp4\n#EXT-X-ENDLIST\n",
    "hls with a byte order mark": "\ufeff\n#EXTM3U\n#EXTINF:1.0,\nhttp://127.0.0.1:9/a.ts\n",
    "concat": "ffconcat version 1.0\nfile a.mp4\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>\n',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_list_of_other_files_is_no_video(tmp_path, kind, backend):
    encode(tmp_path / "a.mp4", numbered_frames(5), "libx264")
    (tmp_path / "x.mp4").write_text(PLAYLISTS[kind])
    with pytest.raises(VideoReadError, match=r"x.mp4: not a video but a playlist"):
        open_video(tmp_path / "x.mp4", backend)

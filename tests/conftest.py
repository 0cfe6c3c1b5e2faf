"""Small models and small videos, made on the spot."""

import json
import os
import re
import subprocess
import sys

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub client is imported

from pathlib import Path

import av
import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock

from videoadapt.__main__ import main
from videoadapt.config import ModelConfig
from videoadapt.data.annotations import CONVERTERS, locate
from videoadapt.engine.learner import Learner
from videoadapt.video import VideoReadError

THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
torch.set_num_threads(THREADS)
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))  # for the programs that tests start
GOLDEN = Path(__file__).parent / "golden"
TOOLS = Path(__file__).parents[1] / "tools"
CLIP_B16 = "vit_base_patch16_clip_quickgelu_224"
TINY = {"embed_dim": 64, "depth": 2, "num_heads": 4, "patch_size": 8, "img_size": 32}


# Files that take longest, begun first: a process that ends with one of them would work alone at the end.
LONGEST = ("test_ranks.py", "test_cli.py", "test_study.py", "test_wheel.py", "test_docs.py", "test_resume.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_terminal_summary(terminalreporter):
    """Tests of GPUs are never left out in silence."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "gpu" in report.keywords]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests that need a GPU were skipped: torch sees none, or too few")


@pytest.fixture
def tool(capsys):
    """Run a sub-command in this process: (exit code, stdout, stderr)."""

    def call(name, *arguments):
        code = 0
        try:
            main([name, *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def tiny(**changes) -> ModelConfig:
    """A CLIP-shaped ViT of width 64 on 32x32 images, random weights (the same every time)."""
    model = {
        "backbone": CLIP_B16,
        "pretrained": "none",
        "backbone_options": TINY,
        "num_frames": 4,
        "num_classes": 5,
    }
    return ModelConfig.model_validate({**model, **changes})


def perturb(model: torch.nn.Module, seed: int = 1) -> None:
    """Move every trainable parameter away from its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


@pytest.fixture
def small_clip(tmp_path, monkeypatch):
    """A small CLIP that open_clip knows by name, its weights in open_clip's own file, as ``CLIP_B16`` with ``TINY``."""
    import open_clip
    from make_goldens import CLIP_SIZES, fill

    from videoadapt.models import pretrained

    (tmp_path / "small-clip.json").write_text(json.dumps(CLIP_SIZES))
    open_clip.add_model_config(tmp_path / "small-clip.json")
    monkeypatch.setitem(pretrained._OPEN_CLIP_NAMES, CLIP_B16, "small-clip")
    torch.save(fill(open_clip.CLIP(**CLIP_SIZES)).state_dict(), tmp_path / "clip.bin")
    return tmp_path / "clip.bin"


def numbered_frames(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames that show their own number in binary: eight columns, white above for 1 and below for 0."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    column = width // 8
    for number, bit in np.ndindex(count, 8):
        rows = slice(None, height // 2) if number >> bit & 1 else slice(height // 2, None)
        frames[number, rows, bit * column : (bit + 1) * column] = 255
    return list(frames)


def read_number(frame: np.ndarray) -> int:
    """The number a frame shows."""
    column = frame.shape[1] // 8
    top = frame[: frame.shape[0] // 2]
    return sum(int(top[:, bit * column : (bit + 1) * column].mean() > 127) << bit for bit in range(8))


def encode(
    path: Path,
    frames: list[np.ndarray],
    codec: str,
    *,
    b_frames: int = 0,
    gop: int = 12,
    pix_fmt: str = "yuv420p",
    container_options: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Write a real video file."""
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.thread_count = pix_fmt, 1  # no threads for a forked worker to wait for
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """What 'videoadapt demo' leaves, from few videos and one epoch: ``data``, and a folder for each of its rows."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo"  # one for all processes
    with FileLock(f"{root}.lock"):
        if not (root / "demo.png").exists():
            _make_demo(root)
    return root


def _make_demo(root: Path) -> None:
    small = ["--train-per-class", "2", "--val-per-class", "1", "optim.epochs=1", "optim.batch_size=4", "run.threads=1"]
    command = [sys.executable, "-m", "videoadapt", "demo", "--out", root, *small]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="session")
def video_set(tmp_path_factory) -> Path:
    """Twelve short H.264 files of three colours, with lists and class names: a problem any model can learn."""
    root = tmp_path_factory.mktemp("videos set")  # with a space on purpose
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        frames = rng.integers(0, 60, (10, 40, 48, 3), dtype=np.uint8)
        frames[..., number % 3] += 180
        name = f"-clip #{number}.mp4"
        encode(root / name, list(frames), "libx264", preset="ultrafast")
        rows.append((name, number % 3))
    for split, part in (("train", rows), ("val", rows[:5])):
        lines = ["path,label", *(f"{name},{label}" for name, label in part)]
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")
    (root / "classes.txt").write_text("red\ngreen thing\nblue\n")
    return root


@pytest.fixture
def folders(tmp_path):
    """``write(files)`` puts texts into ``annotations``, ``touch(names)`` empty files into ``videos``."""
    notes, videos = tmp_path / "annotations", tmp_path / "my videos"
    notes.mkdir()
    videos.mkdir()

    def put(root, files):
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")

    return notes, videos, put


def convert(dataset, folders, annotations, videos=()):
    """(found, missing) by split, and the annotations."""
    notes, root, put = folders
    put(notes, annotations)
    put(root, dict.fromkeys(videos, ""))
    found = CONVERTERS[dataset](notes, root)
    splits, _ = locate(found, root)
    return (
        {name: [tuple(record) for record in split.found] for name, split in splits.items()},
        {name: [tuple(record) for record in split.missing] for name, split in splits.items() if split.missing},
        found,
    )


def number_or_none(video, number):
    try:
        return read_number(video.frames([number])[0])
    except VideoReadError as error:
        assert "\n" not in str(error)
        return None


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A config of two epochs of four steps, and the run that nobody disturbed."""
    from chaos import train, write_problem

    folder = tmp_path_factory.mktemp("problem")
    config = write_problem(folder, videos=8, epochs=2)
    job = train(config, folder / "whole", 1, "run.eval_every=1", "run.save_every=null")
    assert job.wait() == [0], job.output()
    return config, folder / "whole"


@pytest.fixture
def run(problem, tool, tmp_path):
    """Run it in this process: (exit code, stderr)."""

    def call(*overrides):
        every = ["run.eval_every=1", "run.save_every=null", "data.workers=0"]
        code, _, err = tool("train", problem[0], f"run.out_dir={tmp_path / 'run'}", *every, *overrides)
        lines = re.split(r"[\r\n]+", err)
        return code, "".join(f"{line}\n" for line in lines if line.strip() and "%|" not in line)

    return call


def at_step(monkeypatch, number, act):
    """Have ``act`` done in the middle of a step; only the first time that it is taken."""
    step, calls = Learner.step, []

    def disturbed(self, *arguments, **keywords):
        calls.append(None)
        if len(calls) == number:
            act()
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(Learner, "step", disturbed)


def write_config(folder: Path, video_set: Path) -> Path:
    spec = {"kind": "loki", "widths": [4, 9, 4]}
    config = {
        "model": {
            "num_frames": 4,
            "slots": {"time_out": spec, "space_out": spec, "mlp_side": spec},
            "unfreeze": ["norm"],
        },
        "data": {
            "train": str(video_set / "train.csv"),
            "val": str(video_set / "val.csv"),
            "classes": str(video_set / "classes.txt"),
            "root": str(video_set),
            "num_classes": 3,
            "sampling": "segment",
            "workers": 0,
        },
        "optim": {"epochs": 2, "batch_size": 4, "lr": 1e-2},
        "run": {"out_dir": str(folder / "run"), "log_every": 1},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"


@pytest.fixture
def config(tmp_path, video_set):
    return write_config(tmp_path, video_set)


def bad_list(tmp_path, text):
    (tmp_path / "bad.csv").write_text(text)
    return tmp_path / "bad.csv"

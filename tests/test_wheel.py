"""The wheel is whole: installed into a fresh environment, it works from an empty folder, without the clone."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from conftest import TOOLS

ROOT = TOOLS.parent
SOURCES = ("videoadapt", "configs", "data_lists")
JUNK = ("data_lists/mine/classes.txt", "data_lists/k400/train.csv", "build/lib/videoadapt/stale.py", "runs/mine/x.txt")
SMALL = ["optim.epochs=1", "optim.batch_size=4", "run.threads=1"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of an environment's programs: the wheel, made from the source distribution, and the dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.csv"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in JUNK:  # what a clone in use holds beside the project
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("junk")
    _call(sys.executable, "setup.py", "-q", "sdist", folder=source)
    (archive,) = (source / "dist").glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    _call(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, archive)
    shutil.rmtree(source)
    venv.create(folder / "fresh", with_pip=False)
    programs = folder / "fresh" / "bin"
    (wheel,) = folder.glob("*.whl")
    _call(*pip, "--python", programs / "python", "install", "--no-deps", wheel)
    own = _call(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # a line of a .pth file brings the packages of a folder, but not the editable installs there
    Path(own, "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return programs


def _call(*command, folder=None):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, env=environment, timeout=280
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="module")
def empty(installed, tmp_path_factory):
    """A folder that was empty before ``videoadapt demo`` ran in it."""
    folder = tmp_path_factory.mktemp("empty")
    small = ["--train-per-class", "1", "--val-per-class", "1"]
    out = _call(installed / "videoadapt", "demo", *small, *SMALL, folder=folder)
    assert "(5) + MLP LoKi" in out and (folder / "runs/demo/demo.png").is_file()
    return folder


def test_the_package_is_the_installed_one_and_holds_its_files(installed, tmp_path):
    (tmp_path / "videoadapt" / "videoadapt").mkdir(parents=True)  # a folder such as a clone's beside which one works
    code = """import json, pathlib, videoadapt
root = pathlib.Path(videoadapt.__file__).parent
files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if "__pycache__" not in path.parts)
print(json.dumps([str(root), files, videoadapt.load_config("demo/loki_mini_8f").data.num_classes]))"""
    root, files, classes = json.loads(_call(installed / "python", "-c", code, folder=tmp_path))
    assert root.startswith(str(installed.parent)) and classes == 8
    expected = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("configs/*/*.yaml")}
    expected |= {path.relative_to(ROOT).as_posix() for path in ROOT.glob("data_lists/*/classes.txt")}
    expected |= {path.relative_to(ROOT / "videoadapt").as_posix() for path in ROOT.glob("videoadapt/**/*.py*")}
    expected = {name for name in expected if "__pycache__" not in name}
    expected |= {"py.typed", "data_lists/README.md", "report/templates/page.html"}
    expected |= {f"weights/{path.name}" for path in (ROOT / "videoadapt/weights").iterdir()}
    assert expected <= set(files)
    assert not [name for name in files if "mine" in name or "stale" in name or name.endswith(".csv")]


def test_a_clone_beside_the_work_does_not_hide_the_editable_package(tmp_path):
    (tmp_path / "videoadapt" / "videoadapt").mkdir(parents=True)
    assert _call(sys.executable, "-c", "import videoadapt; print(videoadapt.__version__)", folder=tmp_path)


def test_help_and_configs(installed, tmp_path):
    assert "usage: videoadapt COMMAND" in _call(installed / "python", "-m", "videoadapt", "--help", folder=tmp_path)
    listed = _call(installed / "videoadapt", "configs", folder=tmp_path)
    for path in ROOT.glob("configs/*/*.yaml"):
        assert f"| {path.relative_to(ROOT / 'configs').with_suffix('')} " in listed
    assert not list(tmp_path.iterdir())


def test_the_demos_checkpoint_is_tested_and_used(installed, empty):
    data = [f"data.{key}=runs/demo/data/{name}" for key, name in (("val", "val.csv"), ("root", ""))]
    checkpoint = ["--checkpoint", "runs/demo/loki/best.safetensors"]
    command = [installed / "videoadapt", "test", "demo/loki_mini_8f", *checkpoint, "--views", "8x1x1,8x2x1", "--report"]
    assert "8x2x1" in _call(*command, *data, "run.out_dir=runs/test", folder=empty)
    assert json.loads((empty / "runs/test/results.json").read_text())["num_videos"] == 8
    assert (empty / "runs/test/report.html").is_file()
    video = "runs/demo/data/videos/val_0000.mp4"
    assert "move right" in _call(
        installed / "videoadapt", "predict", "runs/demo/loki", video, "--top", "8", folder=empty
    )


def test_torchrun_trains_a_packaged_config_on_two_ranks(installed, empty):
    torchrun = [installed / "python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "videoadapt", "train", "demo/loki_mini_8f"]
    _call(*command, "optim.epochs=1", "optim.batch_size=2", "run.threads=1", "run.out_dir=runs/two", folder=empty)
    lines = (empty / "runs/two/metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 2 and (empty / "runs/two/best.safetensors").is_file()

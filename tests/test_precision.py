"""How exact and how repeatable arithmetic is, on GPUs that are not there, and what of it a run keeps."""

import json
from contextlib import suppress

import pytest
import torch
import yaml

from videoadapt.builders import load_checkpoint
from videoadapt.engine import distributed, precision
from videoadapt.engine.precision import chosen_precision, set_arithmetic
from videoadapt.errors import UserError
from videoadapt.workflows import training

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def arithmetic():
    """What is set in a test is as before after it."""
    matmul, cudnn, cuda = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.cuda
    fill = torch.utils.deterministic.fill_uninitialized_memory
    before = matmul.allow_tf32, cudnn.allow_tf32, cuda.cudnn_sdp_enabled()
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = before[:2]
    cuda.enable_cudnn_sdp(before[2])
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fill


def _state():
    cuda = torch.backends.cuda
    repeats = torch.are_deterministic_algorithms_enabled()
    return cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, repeats, cuda.cudnn_sdp_enabled()


@pytest.mark.parametrize(
    ("capability", "others", "found"),
    [((8, 0), True, "bf16"), ((9, 0), True, "bf16"), ((7, 5), True, "fp32"), ((9, 0), False, "fp32")],
)
def test_auto_is_bf16_where_every_rank_has_it(monkeypatch, capability, others, found):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(distributed, "gather", lambda value: [value, others])
    assert chosen_precision("auto", GPU) == found
    assert [chosen_precision(name, GPU) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    assert chosen_precision("auto", CPU) == "fp32"


def test_arithmetic_of_a_gpu_is_set_for_the_process(arithmetic, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = _state()
    set_arithmetic(CPU, tf32=True, deterministic=True)
    assert _state() == before and "CUBLAS_WORKSPACE_CONFIG" not in precision.os.environ
    set_arithmetic(GPU, tf32=True)
    assert _state()[:3] == (True, True, False)
    set_arithmetic(GPU, deterministic=True)
    assert _state()[:3] == (False, False, True)
    assert precision.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    set_arithmetic(GPU, deterministic=True)  # once more, as a second training of a program does


def test_cudnns_attention_is_off_wherever_a_gpu_is_picked(arithmetic, monkeypatch):
    assert torch.backends.cuda.cudnn_sdp_enabled()
    distributed.pick_device("cpu", "run.device")
    assert torch.backends.cuda.cudnn_sdp_enabled()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for picked in (lambda: distributed.pick_device("auto", "run.device"), lambda: load_checkpoint("none", GPU)):
        torch.backends.cuda.enable_cudnn_sdp(True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("videoadapt.builders.checkpoint.find_checkpoint", _stop)
            with suppress(InterruptedError):
                picked()
        assert not torch.backends.cuda.cudnn_sdp_enabled()


def _stop(*_):
    raise InterruptedError


@pytest.mark.parametrize(
    ("workspace", "in_use", "message"),
    [(":0:0", False, "starts; now it is :0:0"), (None, True, "starts; CUDA is already in use"), (":16:8", True, None)],
)
def test_what_cannot_repeat_itself_is_told(arithmetic, monkeypatch, workspace, in_use, message):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: in_use)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if workspace:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
    if message is None:
        set_arithmetic(GPU, deterministic=True)
        return
    with pytest.raises(UserError, match=f"^run.deterministic: set CUBLAS_WORKSPACE_CONFIG=:4096:8 before.*{message}$"):
        set_arithmetic(GPU, deterministic=True)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_run_keeps_the_precision_that_auto_was_when_it_began(run, problem, tool, tmp_path, monkeypatch, caplog):
    with monkeypatch.context() as a_gpu:
        a_gpu.setattr(training, "chosen_precision", lambda name, device: "bf16" if name == "auto" else name)
        assert run("run.precision=auto", "optim.epochs=1")[0] == 0
    assert "run.precision: auto is bf16" in caplog.messages
    out = tmp_path / "run"
    assert yaml.safe_load((out / "config.yaml").read_text())["run"]["precision"] == "bf16"
    assert run("run.precision=auto", "optim.epochs=1", "run.resume=true")[0] == 0
    assert "run.precision: auto is bf16, as the run began" in caplog.messages
    code, err = run("optim.epochs=1", "run.resume=true")
    assert code == 2 and "the run began with run.precision=bf16, now it is fp32" in err
    assert load_checkpoint(out).config.run.precision == "bf16"
    asked = ["run.precision=auto", f"run.out_dir={tmp_path / 'test'}"]
    assert tool("test", problem[0], "--checkpoint", out, *asked)[0] == 0
    assert json.loads((tmp_path / "test" / "results.json").read_text())["config"]["run"]["precision"] == "bf16"

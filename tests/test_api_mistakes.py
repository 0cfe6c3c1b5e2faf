"""What can be wrong with a call from Python, or with a file on the command line: one line that names it."""

import numpy as np
import pytest
import torch

import videoadapt
from videoadapt.errors import UserError


@pytest.fixture(scope="module")
def model(demo):
    return videoadapt.load_checkpoint(demo / "loki")


CALLS = {  # of a model, and a video
    "pixels": (
        lambda m, v: videoadapt.classify(m, np.zeros((8, 64, 64, 3), np.uint8)),
        r"a ndarray is no path of a video or picture; model\(clips\) takes pixels",
    ),
    "a tensor": (lambda m, v: videoadapt.classify(m, torch.zeros(2)), "a Tensor is no path of a video"),
    "windows of pixels": (lambda m, v: videoadapt.classify_windows(m, None, 1.0), "a NoneType is no path of a video"),
    "an address": (lambda m, v: videoadapt.classify(m, "rtsp://h/x"), "rtsp://h/x: is an address, and only files are"),
    "views": (lambda m, v: videoadapt.classify(m, v, views=(8, 1, 1)), r"views \(8, 1, 1\): is no text; views are"),
    "top": (lambda m, v: videoadapt.classify(m, v, top="5"), "top '5': a whole number of classes to name"),
    "seconds": (lambda m, v: videoadapt.classify_windows(m, v, "1"), "windows of '1' every None: both must be numbers"),
    "a clip without end": (
        lambda m, v: videoadapt.classify(m, v, views="100000x1x1"),
        "a clip has 1024 frames at most",
    ),
    "device": (lambda m, v: videoadapt.load_checkpoint("x", "gpu"), "device: no device 'gpu'; choose from: auto, cpu"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_mistake_in_a_call_is_one_line(name, model, demo):
    call, message = CALLS[name]
    with pytest.raises(UserError, match=message) as caught:
        call(model, demo / "data" / "videos" / "val_0000.mp4")
    assert "\n" not in str(caught.value)

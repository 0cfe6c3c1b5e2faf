"""What the lower bounds in setup.py stand on: each case is wrong, or an error, with a release below its bound."""

from importlib.metadata import requires

import av
import numpy as np
import pytest
import timm
import torch
from lower_bounds import EXTRAS, applies, lowest
from packaging.requirements import Requirement

from videoadapt.video import open_video

MATRICES = {  # of the colours: FFmpeg's number, and the weights of red and blue in the luma
    "BT.709": (1, 0.2126, 0.0722),
    "BT.601": (6, 0.299, 0.114),
    "BT.2020": (9, 0.2627, 0.0593),
}
YUV = (100, 90, 200)


def rgb(red, blue):
    """Full-range rgb of ``YUV`` in limited range, by the standards' own formula."""
    y, u, v = (YUV[0] - 16) / 219, (YUV[1] - 128) / 224, (YUV[2] - 128) / 224
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return 255 * np.array([r, (y - red * r - blue * b) / (1 - red - blue), b])


@pytest.mark.parametrize("matrix", MATRICES)
def test_colours_are_converted_by_the_matrix_of_the_file(matrix, tmp_path):
    """av 14 to 16 takes BT.601 for every file."""
    number, red, blue = MATRICES[matrix]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = number, 1
        for _ in range(5):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane, value in zip(frame.planes, YUV, strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            frame.colorspace, frame.color_range = number, 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with open_video(tmp_path / "a.mp4", "pyav") as video:
        found = video.frames([3])[0, 24, 32].astype(float)
    assert np.abs(found - rgb(red, blue)).max() < 3  # the three matrices differ by up to 16


@pytest.mark.parametrize(
    "name", ["vit_small_patch16_dinov3", "vit_pe_core_base_patch16_224", "eva02_base_patch16_clip_224"]
)
def test_timm_has_the_backbones_of_today(name):
    """timm 1.0.20 builds no model on the meta device and cannot resize a DINOv3."""
    model = timm.create_model(name, depth=2, num_classes=0)
    model.set_input_size(img_size=96)
    assert model(torch.zeros(1, 3, 96, 96)).shape[0] == 1
    with torch.device("meta"):
        timm.create_model("vit_base_patch16_224", depth=2)


def test_every_requirement_has_a_lower_bound():
    """``lower_bounds.py`` can install it."""
    wanted = [Requirement(line) for line in requires("videoadapt")]
    pins = {lowest(each) for each in wanted if applies(each, ["", *EXTRAS])}
    assert len(pins) > 25 and any(pin.startswith("torch==") for pin in pins)

"""What the packaged configs say of themselves: the comments at their top, which a test holds to the truth."""

import re
from typing import NamedTuple

from videoadapt.config.naming import find_config
from videoadapt.config.reading import load_config


class Description(NamedTuple):
    """A config in a line."""

    dataset: str
    views: str  # frames x clips x crops of its test; "image" if it has no frames
    trainable: int  # parameters
    published: str  # the paper's number; empty if there is none


def described_config(name: str) -> Description:
    """What a packaged config is for; no model is built."""
    config, text = load_config(name), find_config(name).read_text(encoding="utf-8")
    first, trainable = text.split("\n", 1)[0], re.search(r"([\d,]+) trainable", text)
    published = re.search(r" paper: (.+?)(?: \(\d+x\d+x\d+\))?$", first)
    frames = config.model.num_frames
    return Description(
        config.data.dataset,
        config.test.views or f"{frames}x1x1" if frames else "image",
        int(trainable[1].replace(",", "")) if trainable else 0,
        published[1] if published else "",
    )

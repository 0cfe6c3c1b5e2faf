"""scikit-learn's handwritten digits as picture files: real images that need no download."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TRAIN = 1500  # of 1,797; the embedded backbone saw these very scans among its sprites, and never the rest
_SIDE = 64


def write_digits(folder: Path) -> None:
    """PNG files in ``pictures/``, ``train.csv``, ``val.csv`` and ``classes.txt``: white digits on black, 64 x 64."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    lines = []
    for number, (scan, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        image = Image.fromarray((scan * (255 / 16)).astype(np.uint8)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        image.save(pictures / f"{number:04d}.png")
        lines.append(f"pictures/{number:04d}.png,{label}\n")
    (folder / "train.csv").write_text("path,label\n" + "".join(lines[:TRAIN]), encoding="utf-8")
    (folder / "val.csv").write_text("path,label\n" + "".join(lines[TRAIN:]), encoding="utf-8")
    (folder / "classes.txt").write_text("".join(f"{label}\n" for label in range(10)), encoding="utf-8")

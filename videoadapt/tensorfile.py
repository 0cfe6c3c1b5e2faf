"""Files of ``torch.save``, which are pickles, read without executing anything in them."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch


def read_tensors(path: Path) -> Any:
    """Tensors in containers; ValueError, with a reason in half a line, for whatever else the file holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch guesses about strange files; the reason says enough
        try:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    if wrong := archive.testzip():  # torch does not look at the checksums that it writes
                        raise ValueError(f"{wrong} is damaged")
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # what the reader makes of any bytes at all
            text = str(error).strip().splitlines()
            what = text[0].split(". ")[0] if text else "it says no more"
            raise ValueError(f"{type(error).__name__}: {what}") from None

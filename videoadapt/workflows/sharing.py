"""Checkpoints as folders that can be shared, with a model card, here or on the Hugging Face Hub."""

import json
import tempfile
from pathlib import Path
from typing import Any

from videoadapt import builders
from videoadapt.engine.checkpoint import read_checkpoint
from videoadapt.engine.hub import HUB, copy_folder, find_checkpoint, model_card, push_folder, write_folder
from videoadapt.errors import UserError


def push(checkpoint: str, place: str, results: Path | None = None, private: bool = False) -> str | None:
    """Write a checkpoint, its config, a model card and results into a folder, or to ``hf://owner/name``.

    Args:
        results: results.json of a test of this checkpoint, for the card.
        private: if this makes a new repository.

    Gives the address on the Hub, None for a folder.
    """
    source, tested = find_checkpoint(checkpoint), _results(results)
    tensors, about = read_checkpoint(source)
    named = Path((tested or {}).get("checkpoint") or source)
    if named.is_file() and named.read_bytes() != source.read_bytes():
        raise UserError(f"--results: of {named}, which is another checkpoint than {source}")
    config = builders.checkpoint_config(about, source).model_dump()
    trainable = sum(tensor.numel() for tensor in tensors.values())
    card = model_card(config, trainable, tested, place)
    if not place.startswith(HUB):
        write_folder(Path(place), source, config, card, tested)
        return None
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), source, config, card, tested)
        return push_folder(Path(folder), place.removeprefix(HUB), private)


def pull(place: str, folder: str) -> None:
    """Copy a shared checkpoint, from a folder or from ``hf://owner/name``, into a folder."""
    source = find_checkpoint(place)
    if folder.startswith(HUB):
        raise UserError(f"--to {folder}: pull writes into a folder")
    copy_folder(source, Path(folder))


def _results(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in ("views", "num_videos", "top1", "top5", "fusion") if key not in found]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"--results {path}: not the results of 'videoadapt test' ({type(error).__name__})") from None
    if missing:
        raise UserError(f"--results {path}: not the results of 'videoadapt test', it has no {missing[0]}")
    return found

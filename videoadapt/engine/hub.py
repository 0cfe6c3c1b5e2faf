"""Checkpoints as folders with a model card, on this machine or on the Hugging Face Hub."""

import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData, snapshot_download

from videoadapt.atomic import atomically, writable_folder
from videoadapt.errors import UserError

HUB = "hf://"
_CHECKPOINT = "model.safetensors"
_BESIDE = ("config.yaml", "results.json", "README.md")  # what may lie beside it
_IN_FOLDERS = (_CHECKPOINT, "best.safetensors", "last.safetensors")  # of a shared model, of a run
_MARK = "library_name: videoadapt"
_CARD = """---
{{ card_data }}
---

# {{ title }}

{{ backbone }} (`{{ pretrained }}`), adapted by videoadapt to the {{ num_classes }} classes of {{ dataset }}. The
{{ trainable }} trained parameters are here; the frozen ones stay where the backbone was published.

```python
import videoadapt

model = videoadapt.load_checkpoint("{{ source }}")
for answer in videoadapt.classify(model, "{{ example }}"):
    print(answer.name, answer.probability)
```
{% if results %}
| views | videos | top-1 (%) | top-5 (%) |
|---|--:|--:|--:|
| {{ results.views }} | {{ results.num_videos }} | {{ results.top1 | round(2) }} | {{ results.top5 | round(2) }} |

Views are frames x clips x crops, fused by the mean of {{ results.fusion }}; every listed video counts once.
{% endif %}
`config.yaml` is the whole configuration.
"""


def find_checkpoint(place: str | Path) -> Path:
    """The file that ``place`` stands for: itself, the checkpoint in a folder, or that of ``hf://owner/name[@revision]``.

    Only the checkpoint itself is read later; nothing that comes with it is executed.
    """
    text = str(place)
    path = _pulled(text) if text.startswith(HUB) else Path(place)
    if not path.is_dir():
        return path
    if found := next((path / name for name in _IN_FOLDERS if (path / name).is_file()), None):
        return found
    raise UserError(f"{place}: holds no checkpoint; looked for {', '.join(_IN_FOLDERS)}")


def model_card(config: Mapping[str, Any], trainable: int, results: Mapping[str, Any] | None, source: str) -> ModelCard:
    """What a shared model says of itself.

    Args:
        trainable: trained parameters.
        results: what a test wrote.
        source: what ``load_checkpoint`` will be given.
    """
    model, data = config["model"], config["data"]
    video = model["num_frames"] is not None
    task = "video-classification" if video else "image-classification"
    name = data["dataset"]
    found = [
        EvalResult(task, name, name, "accuracy", results[key], metric_name=f"{metric}, {results['views']}")
        for key, metric in (("top1", "top-1"), ("top5", "top-5"))
        if results
    ]
    card_data = ModelCardData(
        library_name="videoadapt",
        pipeline_tag=task,
        tags=["videoadapt", model["backbone"], name],
        model_name=f"{name} {model['backbone']}",
        eval_results=found or None,
    )
    return ModelCard.from_template(
        card_data,
        template_str=_CARD,
        title=f"{model['backbone']} on {name}",
        backbone=model["backbone"],
        pretrained=model["pretrained"],
        dataset=name,
        num_classes=data["num_classes"],
        trainable=f"{trainable:,}",
        source=source,
        example="video.mp4" if video else "picture.jpg",
        results=results,
    )


def write_folder(
    folder: Path, checkpoint: Path, config: Mapping[str, Any], card: ModelCard, results: Mapping[str, Any] | None
) -> None:
    """model.safetensors, config.yaml, README.md (the card) and results.json if there are results.

    UserError for a folder that holds other files of these names; an earlier model there is replaced.
    """
    _check_free(folder)
    files = {"README.md": str(card), "config.yaml": yaml.safe_dump(config, sort_keys=False)}
    if results:
        files["results.json"] = json.dumps(results, indent=2) + "\n"
    writable_folder(str(folder), "--to", checkpoint.stat().st_size)
    atomically(folder / _CHECKPOINT, partial(shutil.copyfile, checkpoint))
    for name, text in files.items():
        atomically(folder / name, partial(Path.write_text, data=text, encoding="utf-8"))


def copy_folder(checkpoint: Path, folder: Path) -> None:
    """What ``find_checkpoint`` found, and what belongs to it, into a folder of one's own; refused as above."""
    _check_free(folder)
    writable_folder(str(folder), "--to", checkpoint.stat().st_size)
    beside = {name: checkpoint.parent / name for name in _BESIDE if (checkpoint.parent / name).is_file()}
    for name, path in {_CHECKPOINT: checkpoint, **beside}.items():
        atomically(folder / name, partial(shutil.copyfile, path))


def _check_free(folder: Path) -> None:
    taken = [name for name in (_CHECKPOINT, *_BESIDE) if (folder / name).exists()]
    card = folder / "README.md"
    if taken and not (card.is_file() and _MARK in card.read_text(encoding="utf-8", errors="replace")):
        raise UserError(f"--to {folder}: its {taken[0]} is not of a shared model; name another folder")


def push_folder(folder: Path, repository: str, private: bool) -> str:
    """Upload a folder to ``owner/name`` on the Hub, made if need be; its address."""
    try:
        api = HfApi()
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Checkpoint of videoadapt")
    except Exception as error:  # of the network, of the Hub, of the name
        raise UserError(
            f"{HUB}{repository}: cannot be pushed ({_first_line(error)}); is it owner/name, and are you logged in "
            "(hf auth login)?"
        ) from None
    return str(address)


def _pulled(text: str) -> Path:
    repository, _, revision = text.removeprefix(HUB).partition("@")
    wanted = [_CHECKPOINT, *_BESIDE]
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
    except Exception as error:  # as above
        raise UserError(f"{text}: cannot be fetched ({_first_line(error)}); a local folder works too") from None


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"

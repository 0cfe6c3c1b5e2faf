"""A test as a page."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from videoadapt import builders
from videoadapt.atomic import atomically
from videoadapt.config import Config
from videoadapt.data.decode import VideoReadError
from videoadapt.report.page import Card, Judged, pick_videos, render_page, thumbnail
from videoadapt.workflows.testing import Tested


def write_report(tested: Tested) -> Path:
    """report.html in the ``run.out_dir`` of a test that was made with ``steps``."""
    config, main = tested.config, tested.main
    worst, best = pick_videos(main.label, main.scores)
    page = render_page(
        tested.results,
        tested.classes,
        main.label,
        main.scores,
        tested.accuracies(),
        {
            "Worst: wrong and sure of it": _cards(config, tested, worst),
            "Best: right and sure of it": _cards(config, tested, best),
        },
        _facts(tested),
        yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True),
    )
    path = Path(config.run.out_dir, "report.html")
    atomically(path, lambda draft: draft.write_text(page, encoding="utf-8"))
    return path


def _cards(config: Config, tested: Tested, judged: Sequence[Judged]) -> list[Card]:
    records = builders.test_records(config)
    cards = []
    for each in judged:
        path = records[int(tested.main.index[each.row])].path
        try:
            picture = thumbnail(builders.middle_frame(config.data, path))
        except VideoReadError:  # an unreadable one counts as wrong
            picture = None
        cards.append(Card(path, each, picture))
    return cards


def _facts(tested: Tested) -> dict[str, dict[str, object]]:
    config, results = tested.config, tested.results
    data, model = config.data, config.model
    sampling = {"sampling": data.sampling}
    if data.sampling == "dense":
        sampling |= {"stride": data.stride, "spacing": data.spacing, "out of range": data.out_of_range}
    decoders = ", ".join(f"{name} {count}" for name, count in results["num_read_by"].items())
    return {
        "Views": {
            "frames x clips x crops": results["views"],
            **sampling,
            "short side": data.resize or "image size",
            "image size": builders.model_input(model)["image_size"],
            "fusion": results["fusion"],
            "read by": decoders,
            "precision": config.run.precision,
        },
        "Model": {
            "backbone": model.backbone,
            "weights": model.pretrained,
            "checkpoint": results["checkpoint"] or "none: zero-shot",
            "list": results["list"],
        },
        "Environment": {
            "date": results["date"],
            "machine": results["machine"],
            **{name: version or "not installed" for name, version in results["versions"].items()},
        },
    }

"""A test as a page."""

from pathlib import Path

import numpy as np
import yaml

from videoadapt import builders
from videoadapt.atomic import atomically
from videoadapt.config import Config
from videoadapt.report.confusion import Judged
from videoadapt.report.page import Card, pick_videos, render_page, thumbnail
from videoadapt.video import VideoReadError
from videoadapt.workflows.testing import Tested


def write_report(tested: Tested) -> Path:
    """report.html in the ``run.out_dir`` of a test that was made with ``steps``."""
    config, main = tested.config, tested.main
    readable = np.flatnonzero(np.isfinite(main.scores).all(1))  # the others have no answer to show
    label, scores = main.label[readable], main.scores[readable]
    worst, best = pick_videos(label, scores)
    paths = [record.path for record in builders.test_records(config)]
    page = render_page(
        tested.results,
        tested.classes,
        label,
        scores,
        tested.accuracies,
        {
            heading: [_card(config, judged, paths[main.index[readable[judged.row]]]) for judged in chosen]
            for heading, chosen in (("Worst: wrong, the surest first", worst), ("Best: right, the surest first", best))
        },
        _facts(tested),
        yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True),
    )
    path = Path(config.run.out_dir, "report.html")
    atomically(path, lambda draft: draft.write_text(page, encoding="utf-8"))
    return path


def _card(config: Config, judged: Judged, path: str) -> Card:
    try:
        return Card(path, judged, thumbnail(builders.middle_frame(config.data, path)))
    except VideoReadError:  # its middle is damaged, or it is gone by now
        return Card(path, judged, None)


def _facts(tested: Tested) -> dict[str, dict[str, object]]:
    config, results = tested.config, tested.results
    data, model = config.data, config.model
    sampling: dict[str, object] = {"sampling": data.sampling}
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

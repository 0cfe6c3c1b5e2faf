"""Every YAML of configs/ loads, builds on the meta device, opens with its command and keeps to its numbers."""

import re

import pytest
from conftest import TOOLS

from videoadapt.builders import build_model
from videoadapt.config import cells, described_config, load_config, load_study
from videoadapt.models.templates import templates

ROOT = TOOLS.parent
STUDIES = sorted(ROOT.glob("configs/studies/*.yaml"))
CONFIGS = sorted(set(ROOT.glob("configs/*/*.yaml")) - set(STUDIES))


def _trainable(config) -> int:
    model = build_model(config.model, device="meta")
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_config_loads_builds_and_names_its_command(path):
    config, text = load_config(path), path.read_text()
    count = _trainable(config)
    assert count > 0
    name = path.relative_to(ROOT / "configs").with_suffix("").as_posix()
    assert f"videoadapt train {name}" in text.splitlines()[0]
    about = described_config(name)
    assert about.trainable == count and about.dataset == config.data.dataset
    assert about.views == (config.test.views or "image") and (about.published in text.splitlines()[0])
    views = re.search(r"\((\d+x\d+x\d+)\)", text.splitlines()[0])
    assert views is None or views[1] == config.test.views
    assert config.run.out_dir.startswith("runs/")


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_a_study_expands_to_models_that_build(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # a study names its base by the packaged name, from wherever it runs
    study = load_study(path)
    assert f"videoadapt study studies/{path.stem} " in path.read_text().splitlines()[0] + " "
    todo = list(cells(study))
    assert len({cell.name for cell in todo}) == len(todo)
    counts, built = {}, {}
    for cell in todo:
        config = cell.config()
        if config.model.zero_shot is not None:
            assert templates(config.model.zero_shot)
            continue
        key = config.model.model_copy(update={"num_classes": 10}).model_dump_json()
        if key not in built:
            built[key] = _trainable(config) - config.data.num_classes * _head_inputs(config)
        counts.setdefault((cell.backbone, cell.method), set()).add(built[key])
    assert all(len(found) == 1 for found in counts.values()), "a method has one size on a backbone"


def _head_inputs(config) -> int:
    return build_model(config.model, device="meta").head.in_features + 1


TABLES = {  # study, backbone, method: trainable parameters without the head
    ("loki_table1", "clip", "full"): 85_799_424,
    ("loki_table1", "clip", "linear"): 0,
    ("loki_table1", "clip", "prompt"): 153_600,
    ("loki_table1", "clip", "lora"): 294_912,
    ("loki_table1", "clip", "adapter"): 7_100_928,
    ("loki_table1", "in21k", "kan"): 4_055_040,
    ("loki_table1", "in21k", "loki"): 4_023_936,
    ("karst_table1_vtab", "", "karst"): 337_920,
    ("karst_table1_vtab", "", "adaptformer"): 156_768,
    ("karst_table1_vtab", "", "lora"): 294_912,
    ("karst_table2_swin", "swin_b", "karst"): 445_440,
    ("karst_table2_swin", "swin_b", "bitfit"): 200_760,
    ("karst_table3_rst", "", "fact"): 61_440,
    ("karst_table3_rst", "", "fact + rst"): 61_488,
    ("karst_table3_rst", "", "ka"): 301_056,
    ("karst_table3_rst", "", "ka + rst"): 337_920,
}


@pytest.mark.parametrize(("name", "backbone", "method"), TABLES)
def test_a_line_of_a_papers_table_has_its_size(name, backbone, method):
    study = load_study(f"studies/{name}")
    cell = next(cell for cell in cells(study) if (cell.backbone, cell.method) == (backbone, method))
    config = cell.config()
    count = _trainable(config) - config.data.num_classes * _head_inputs(config)
    assert count == TABLES[name, backbone, method]

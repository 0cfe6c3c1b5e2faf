"""One row for every way to get a config wrong, and the promises of a right one."""

from pathlib import Path

import pytest

from videoadapt.config import load_config
from videoadapt.errors import UserError

BASE = """
model:
  num_frames: 8
  slots: {time_out: {kind: loki, widths: [4, 9, 4]}}
  linears: {space.qkv: {kind: karst, rank: 8}, mlp: {fc1: {kind: lora}}}
data: {num_classes: 8}
optim: {lr: 3e-4}
"""


@pytest.fixture
def base(tmp_path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text(BASE)
    return path


def test_numbers_dots_and_overrides(base):
    config = load_config(base, ["model.linears.space.qkv.rank=4", "optim.clip_grad=1", "model.slots.time_out=null"])
    assert config.optim.lr == 3e-4 and config.optim.clip_grad == 1.0
    assert config.model.linears.sites() == {"space.qkv": {"kind": "karst", "rank": 4}, "mlp.fc1": {"kind": "lora"}}
    assert config.model.slots.time_out is None
    assert config.model.num_classes == 8


def test_dotted_and_nested_keys_of_one_section_merge(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("model: {linears: {space.qkv: {kind: karst}, space: {proj: {kind: lora}}}}\ndata: {num_classes: 2}")
    assert load_config(path).model.linears.sites() == {"space.qkv": {"kind": "karst"}, "space.proj": {"kind": "lora"}}


def test_an_override_reaches_into_adapters(base):
    config = load_config(
        base, ["model.slots.time_out.widths=[16,33,16]", "model.slots.mlp_side={kind: kan, widths: [3]}"]
    )
    assert config.model.slots.time_out == {"kind": "loki", "widths": [16, 33, 16]}
    assert config.model.slots.mlp_side == {"kind": "kan", "widths": [3]}


ERRORS = [
    ("model.slot={}", r"base.yaml: model: unknown key 'slot'; did you mean 'slots'\?"),
    ("optim.epoch=3", r"optim: unknown key 'epoch'; did you mean 'epochs'\?"),
    ("optm.lr=3", r"base.yaml: unknown key 'optm'; did you mean 'optim'\?"),
    ("model.slots.time_uot={}", r"model.slots: unknown key 'time_uot'; did you mean 'time_out'\?"),
    ("model.linears.space.qvk={}", r"model.linears.space: unknown key 'qvk'; did you mean 'qkv'\?"),
    ("zzz=1", r"unknown key 'zzz'; choose from: model, data, optim, test, run"),
    ("optim.lr=fast", "optim.lr: input should be a valid number, got 'fast'"),
    ("optim.lr=-1", "optim.lr: input should be greater than 0, got -1"),
    ("optim.epochs=true", "optim.epochs: input should be a valid integer, got True"),
    ("data.rand_augment=[4, 31]", "data.rand_augment.1: input should be less than or equal to 30, got 31"),
    ("data.num_classes=2.5", "data.num_classes: input should be a valid integer, got 2.5"),
    ("data.num_classes=null", "data.num_classes: input should be a valid integer, got None"),
    ("data={}", "data.num_classes: is missing; give it, or a file of class names in data.classes"),
    ("data.spacing=center", "data.spacing: input should be 'endpoints' or 'centers', got 'center'"),
    ("data.train=5", "data.train: input should be a valid string, got 5"),
    ("model.unfreeze=[nrm]", "model.unfreeze.0: input should be 'norm', 'norms', 'bias' or 'all', got 'nrm'"),
    ("model.num_classes=3", "model.num_classes 3 != data.num_classes 8"),
    ("model=5", "model: input should be a valid dictionary"),
    ("optim.min_lr=1", "optim.min_lr 1 is above optim.lr 0.0003"),
    ("optim.betas=[0]", "optim.betas: list should have at least 2 items"),
    ("test.views=8x3", "test.views: views are frames x clips x crops .*, got '8x3'"),
    ("test.views=8x3x2", "test.views: views are frames x clips x crops with 1 or 3 crops"),
    ("optim.betas=[0.9,1.5]", "optim.betas.1: input should be less than 1"),
    ("data.crop_scale=[0.9,0.1]", "data.crop_scale: a range is"),
    ("model.drop_path=1.0", "model.drop_path: input should be less than 1"),
    ("run.resume=maybe", "run.resume: "),
    ("run.seed", "override 'run.seed': expected key=value"),
    ("run.seed={a", "override 'run.seed={a': not valid YAML"),
    ("optim={lr: 1, lr: 2}", "key 'lr' stands twice"),
]


@pytest.mark.parametrize(("override", "message"), ERRORS, ids=[row[0] for row in ERRORS])
def test_a_wrong_key_is_one_line_with_its_path(base, override, message):
    with pytest.raises(UserError, match=message) as caught:
        load_config(base, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file, and no packaged config has this name"),
        (b"[1, 2]", "a config is a mapping of sections"),
        (b"", "a config is a mapping of sections"),
        (b"\xff\xfe\x00", "cannot read the config"),
        (b"model: !!python/object/apply:os.system ['true']", "not valid YAML"),
        (b"data: {num_classes: 2, num_classes: 3}", "not valid YAML: line 1: key 'num_classes' stands twice"),
        (b"model: {}\ndata: {num_classes: 2}\nrun: {}\ndata: {}\n", "not valid YAML: line 4: key 'data' stands twice"),
        (b"model: {}\n\tdata: 2\n", r"c.yaml: not valid YAML: line 2: found character '\\t' that cannot start"),
        (b"data.num_classes: 2\ndata: {num_classes: 3}", "key 'num_classes' stands twice"),
        (b"data.num_classes: 2\ndata: 3", "key 'data' stands twice"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, content, message):
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_the_resolved_config_loads_again(base, tmp_path):
    import yaml

    config = load_config(base, ["test.views=8x2x3", "run.resume=auto"])
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(config.model_dump()))
    assert load_config(tmp_path / "again.yaml") == config


def test_the_classes_are_counted_in_their_file(tmp_path):
    (tmp_path / "classes.txt").write_text("one\n\ntwo\nthree")
    (tmp_path / "c.yaml").write_text(f"data: {{classes: {tmp_path / 'classes.txt'}}}")
    config = load_config(tmp_path / "c.yaml")
    assert config.data.num_classes == config.model.num_classes == 3
    assert load_config(tmp_path / "c.yaml", ["data.num_classes=2"]).data.num_classes == 2

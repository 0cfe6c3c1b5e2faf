"""The typed configuration: every key, its default and its meaning.

A YAML file and ``key=value`` overrides become one frozen ``Config``. A dot in a key is a path, in the file as on the
command line, so ``space.qkv: {...}`` and ``space: {qkv: {...}}`` are the same. Anything unknown or of the wrong type
is a one-line ``UserError`` with the key's full path.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from videoadapt.errors import UserError, nearest

Spec = dict[str, Any]  # {kind: name, **options}: the options are checked against the adapter's constructor
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


def _views(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[13]", text):
        raise ValueError("views are frames x clips x crops with 1 or 3 crops, e.g. 32x3x3")
    return text


def _range(ends: list[float]) -> list[float]:
    if len(ends) != 2 or not 0 < ends[0] <= ends[1]:
        raise ValueError("a range is [low, high] with 0 < low <= high")
    return ends


ViewText = Annotated[str, AfterValidator(_views)]
Range = Annotated[list[float], AfterValidator(_range)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Slots(Section):
    """Activation space: modules that add a delta to the tokens."""

    time_in: Spec | None = None
    time_out: Spec | None = None
    space_in: Spec | None = None
    space_out: Spec | None = None
    mlp_in: Spec | None = None
    mlp_side: Spec | None = None


class AttentionSites(Section):
    qkv: Spec | None = None
    proj: Spec | None = None


class MlpSites(Section):
    fc1: Spec | None = None
    fc2: Spec | None = None


class Linears(Section):
    """Weight space: tuners around the frozen linears; time and space are two views of the same attention."""

    time: AttentionSites = AttentionSites()
    space: AttentionSites = AttentionSites()
    mlp: MlpSites = MlpSites()

    def sites(self) -> dict[str, Spec]:
        """The filled sites by dotted name."""
        found = {f"{view}.{name}": spec for view, section in self for name, spec in section}
        return {site: spec for site, spec in found.items() if spec is not None}


class ModelConfig(Section):
    backbone: str = "vit_mini_patch16_clip_64"  # a timm VisionTransformer, or the embedded mini
    pretrained: str = "embedded"  # embedded | a timm tag | open_clip:<tag> | a file | the word none
    backbone_options: dict[str, Any] = {}  # timm's own keywords, e.g. {embed_dim: 64, depth: 2}
    image_size: Positive | None = None  # the backbone's own by default
    num_frames: Positive | None = None  # frames a clip; left out for images
    num_classes: Positive | None = None  # taken from data.num_classes
    temporal_embedding: bool = True  # learned, one vector a frame; video only
    order: Literal["time_first", "space_first"] = "time_first"
    slots: Slots = Slots()
    linears: Linears = Linears()
    unfreeze: list[Literal["norm", "bias", "all"]] = []  # final norm, every bias, everything
    drop_path: Rate = 0.0  # of the last block; rises linearly from 0, drops whole clips
    dropout: Rate = 0.0  # before the head


class DataConfig(Section):
    dataset: str = "custom"  # a name for the records
    train: str | None = None  # list files: see videoadapt.data.lists
    val: str | None = None
    test: str | None = None  # val by default
    classes: str | None = None  # a file with one class name a line, in label order
    root: str = "."  # where relative paths of the lists begin
    num_classes: Positive
    decoder: Literal["pyav", "decord"] = "pyav"
    sampling: Literal["dense", "segment"] = "dense"
    stride: Positive = 4  # frames between two of a dense clip
    spacing: Literal["endpoints", "centers"] = "endpoints"  # of dense test clips: mmaction2 1.x | AIM
    out_of_range: Literal["loop", "repeat_last"] = "loop"  # dense clips longer than the video
    crop_scale: Range = [0.08, 1.0]  # area of the random resized crop
    crop_ratio: Range = [0.75, 1.3333]  # width to height
    flip: Share = 0.5  # 0 where left and right are labels
    resize: Positive | None = None  # short side before test crops; the model's image size by default
    cache_frames: bool = False  # keep every decoded video in memory: small data sets only
    max_bad_share: Share = 0.01  # of unreadable training videos before the run stops
    workers: int = Field(2, ge=0)  # processes of each loader (training, validation) a rank


class OptimConfig(Section):
    epochs: Positive = 30
    batch_size: Positive = 8  # a rank and step; the global batch is batch_size * ranks * accumulate
    accumulate: Positive = 1  # backward passes a step
    lr: float = Field(4e-4, gt=0)
    min_lr: float = Field(0.0, ge=0)  # floor of the cosine
    warmup_epochs: float = Field(0.0, ge=0)  # linear, from 0
    temporal_lr_scale: float = Field(1.0, gt=0)  # times lr for the temporal embedding, which starts at zero
    weight_decay: float = Field(0.05, ge=0)  # not on biases, norms, other vectors and the temporal embedding
    betas: list[Rate] = Field([0.9, 0.999], min_length=2, max_length=2)
    clip_grad: float | None = Field(None, gt=0)
    label_smoothing: Rate = 0.0


class TestConfig(Section):
    views: ViewText | None = None  # frames x clips x crops; model.num_frames x1x1 by default
    fusion: Literal["softmax", "logits"] = "softmax"  # what is averaged over the views
    batch_size: Positive = 8  # views a forward pass
    on_bad: Literal["error", "count_wrong", "skip"] = "error"  # unreadable videos


class RunConfig(Section):
    out_dir: str = "runs/default"
    seed: int = Field(0, ge=0)
    device: str = "auto"  # auto: cuda where there is one
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    threads: Positive | None = None  # of torch on the CPU; torch's own choice by default
    eval_every: Positive = 1  # epochs
    log_every: Positive = 20  # steps
    resume: bool | Literal["auto"] = False  # true: must find a state; auto: go on if there is one
    overwrite: bool = False  # replace an earlier run in out_dir


class Config(Section):
    model: ModelConfig = ModelConfig()
    data: DataConfig
    optim: OptimConfig = OptimConfig()
    test: TestConfig = TestConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="before")
    @classmethod
    def _share_num_classes(cls, raw: Any) -> Any:
        """``model.num_classes`` follows ``data.num_classes``, so that either section can be used alone."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("data"), Mapping):
            return raw
        model = raw.get("model", {})
        count = raw["data"].get("num_classes")
        if isinstance(model, Mapping) and model.get("num_classes") is None and isinstance(count, int):
            raw = {**raw, "model": {**model, "num_classes": count}}
        return raw

    @model_validator(mode="after")
    def _agree(self) -> "Config":
        if self.model.num_classes != self.data.num_classes:
            raise ValueError(f"model.num_classes {self.model.num_classes} != data.num_classes {self.data.num_classes}")
        if self.optim.min_lr > self.optim.lr:
            raise ValueError(f"optim.min_lr {self.optim.min_lr:g} is above optim.lr {self.optim.lr:g}")
        return self


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file and apply ``key=value`` overrides, whose values are YAML too."""
    raw = _read_yaml(Path(path))
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator:
            raise UserError(f"override '{text}': expected key=value, e.g. optim.lr=1e-3")
        _set(raw, key.strip().split("."), _parse(value, f"override '{text}'"), replace=True)
    return validate(Config, raw, str(path))


def validate(model: type[BaseModel], raw: Any, source: str, prefix: str = "") -> Any:
    """``model`` from plain data; the first thing wrong is a ``UserError`` that begins ``source: prefix.key:``."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")  # a typo explains what is missing
        raise UserError(f"{source}: {_explain(first, model, prefix)}") from None


def _explain(error: Mapping, model: type[BaseModel], prefix: str) -> str:
    path = [str(part) for part in error["loc"] if not re.match(r"^(\w+\[|bool$|str$|literal)", str(part))]
    where = ".".join([prefix, *path] if prefix else path)
    if error["type"] == "extra_forbidden":
        keys = _keys_at(model, path[:-1])
        parent, _, key = where.rpartition(".")
        return f"{parent + ': ' if parent else ''}unknown key '{key}'; {nearest(key, keys)}"
    if error["type"] == "missing":
        return f"{where}: is missing"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{where}: {message}, got {error['input']!r}" if where else message


def _keys_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers (``3e-4`` is a float), and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = [key.value for key, _ in node.value]
        if twice := next((key for key in seen if seen.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"key '{twice}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+.0123456789"),
)


def _read_yaml(path: Path) -> dict:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read the config: {getattr(error, 'strerror', None) or error}") from None
    raw = _parse(text, str(path))
    if not isinstance(raw, dict):
        raise UserError(f"{path}: a config is a mapping of sections: {', '.join(Config.model_fields)}")
    return raw


def _parse(text: str, source: str) -> Any:
    try:
        return _nested(yaml.load(text, Loader=_Loader))
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise UserError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None


def _nested(value: Any) -> Any:
    """Dotted keys unfolded into mappings, at every depth."""
    if not isinstance(value, dict):
        return value
    result: dict = {}
    for key, inner in value.items():
        _set(result, str(key).split("."), _nested(inner), replace=False)
    return result


def _set(tree: dict, path: Sequence[str], value: Any, replace: bool) -> None:
    """Put ``value`` at ``path``; without ``replace``, mappings merge and nothing may stand twice."""
    *parents, last = path
    for part in parents:
        if not isinstance(tree.get(part), dict):
            if part in tree and not replace:
                raise ValueError(f"key '{part}' stands twice")
            tree[part] = {}
        tree = tree[part]
    if replace or last not in tree:
        tree[last] = value
    elif isinstance(tree[last], dict) and isinstance(value, dict):
        for key, inner in value.items():
            _set(tree[last], [key], inner, replace)
    else:
        raise ValueError(f"key '{last}' stands twice")


def first_difference(one: Mapping, other: Mapping, free: frozenset[str] = frozenset()) -> tuple[str, Any, Any] | None:
    """The first dotted key, outside ``free``, at which two dumped sections differ, and both values."""
    for key in [*one, *(key for key in other if key not in one)]:
        a, b = one.get(key), other.get(key)
        if key in free or a == b:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            inner = frozenset(name.partition(".")[2] for name in free if name.startswith(f"{key}."))
            if deeper := first_difference(a, b, inner):
                return f"{key}.{deeper[0]}", *deeper[1:]
            continue
        return key, a, b
    return None

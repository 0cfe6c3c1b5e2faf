"""Every key, its default and its meaning."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Spec = dict[str, Any]  # {kind: name, **options}: the options are checked against the adapter's constructor
Positive = Annotated[int, Field(ge=1, lt=2**31)]
Magnitude = Annotated[int, Field(ge=1, le=30)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


def check_views(text: str) -> str:
    """``text``, or ValueError if it is no frames x clips x crops."""
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[13]", text):
        raise ValueError("views are frames x clips x crops with 1 or 3 crops, e.g. 32x3x3")
    return text


def _range(ends: list[float]) -> list[float]:
    if len(ends) != 2 or not 0 < ends[0] <= ends[1]:
        raise ValueError("a range is [low, high] with 0 < low <= high")
    return ends


ViewText = Annotated[str, AfterValidator(check_views)]
Channels = Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=3, max_length=3)]
Range = Annotated[list[float], AfterValidator(_range)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Slots(Section):
    """Activation space: modules that add a delta to the tokens."""

    time_in: Spec | None = None
    time_out: Spec | None = None
    space_in: Spec | None = None
    space_out: Spec | None = None
    space_side: Spec | None = None
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
    backbone: str = "vit_mini_patch16_clip_64"  # a timm VisionTransformer or Swin, or the embedded mini
    pretrained: str = "embedded"  # embedded | a timm tag | open_clip:<tag> | a file | the word none
    backbone_options: dict[str, Any] = {}  # timm's own keywords, e.g. {embed_dim: 64, depth: 2}
    image_size: Positive | None = None  # the backbone's own by default
    mean: Channels | None = None  # rgb of the pixels the backbone was trained on, in [0, 1]; its tag's by default
    std: Channels | None = None
    num_frames: Positive | None = None  # frames a clip; left out for images
    num_classes: Positive | None = None  # taken from data.num_classes
    temporal_embedding: bool = True  # learned, one vector a frame; video only
    order: Literal["time_first", "space_first"] = "time_first"
    slots: Slots = Slots()
    space_residual: bool = True  # x + a + space_out(a); false: x + space_out(a)
    linears: Linears = Linears()
    prompt: Spec | None = None  # {tokens: 50, deep: false, dropout: 0.0}
    unfreeze: list[Literal["norm", "norms", "bias", "all"]] = []  # final norm, every norm, every bias, everything
    drop_path: Rate = 0.0  # of the last block; rises linearly from 0, drops whole clips
    drop_path_on: Literal["adapters", "branches"] = "adapters"  # AIM's time branch and mlp_side | every residual branch
    dropout: Rate = 0.0  # before the head
    merge: bool = False  # tools/test.py: fold the tuners into the frozen linears first
    zero_shot: str | list[str] | None = None  # prompt templates: a name of videoadapt.models.templates, or a list


class DataConfig(Section):
    dataset: str = "custom"  # a name for the records
    train: str | None = None  # list files: see videoadapt.data.lists
    val: str | None = None
    test: str | None = None  # val by default
    classes: str | None = None  # a file with one class name a line, in label order
    root: str = "."  # where the lists' paths begin: a folder, shards-{000..099}.tar or shards-*.tar, an fsspec URL
    absolute_paths: bool = False  # lists may name files outside root
    num_classes: Positive
    decoder: Literal["pyav", "decord", "torchcodec"] = "pyav"
    time_limit: float | None = Field(60.0, gt=0)  # seconds to read one video
    stall_limit: float | None = Field(600.0, gt=0)  # seconds without a batch; then the run ends with its videos' names
    sampling: Literal["dense", "segment"] = "dense"
    stride: Positive = 4  # frames between two of a dense clip
    spacing: Literal["endpoints", "centers"] = "endpoints"  # of dense test clips: mmaction2 1.x | AIM
    out_of_range: Literal["loop", "repeat_last"] = "loop"  # dense clips longer than the video
    fit: Literal["crop", "squash"] = "crop"  # squash: the whole frame, resized to a square, in training and testing
    crop_scale: Range = [0.08, 1.0]  # area of the random resized crop
    crop_ratio: Range = [0.75, 1.3333]  # width to height
    flip: Share = 0.5  # 0 where left and right are labels
    rand_augment: list[Magnitude] | None = Field(None, min_length=2, max_length=2)  # [operations, magnitude of 30]
    erasing: Share = 0.0  # of clips that lose a random box, the same in all frames
    resize: Positive | None = None  # short side before test crops; the model's image size by default
    short_side: Positive | None = None  # to which training frames, and copies in cache_dir, are brought when decoded
    cache_dir: str | None = None  # keep smaller copies of the videos there, for training and its validation
    cache_frames: bool = False  # keep every decoded video in memory: small data sets only
    max_bad_share: Share = 0.01  # of unreadable training videos before the run stops
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"  # of each loader; auto: one for each core


# Keys of the data section that say how and where videos are read, and do not change what is read.
WITHOUT_EFFECT = frozenset({"root", "absolute_paths", "time_limit", "stall_limit", "cache_frames", "workers"})


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
    seed: int = Field(0, ge=0, lt=2**31)
    device: str = "auto"  # auto: cuda where there is one
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    activation_checkpointing: Literal["none", "mlp", "block"] = "none"  # what is computed again and not kept
    shard: bool = False  # each rank of torchrun keeps a part of the frozen backbone (FSDP2); for large ones
    threads: Positive | None = None  # of torch on the CPU; torch's own choice by default
    eval_every: Positive = 1  # epochs
    log_every: Positive = 20  # steps
    save_every: Positive | None = None  # steps between resume states, beside those of every epoch
    keep_last: Positive = 2  # resume states
    max_bad_steps: Annotated[int, Field(ge=0)] = 10  # skipped because loss or gradient was not finite; more end the run
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

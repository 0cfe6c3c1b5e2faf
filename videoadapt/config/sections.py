"""Every key, its default and its meaning."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Decoder = Literal["pyav", "decord", "torchcodec"]
DECODERS: tuple[str, ...] = get_args(Decoder)
Spec = dict[str, Any]  # {kind: name, **options}: the options are checked against the adapter's constructor
Positive = Annotated[int, Field(ge=1, lt=2**31)]
Magnitude = Annotated[int, Field(ge=1, le=30)]
Share = Annotated[float, Field(ge=0, le=1)]
_LONGEST_CLIP = 1024  # frames, which a model sees all at once
Rate = Annotated[float, Field(ge=0, lt=1)]


def check_views(text: str) -> str:
    """``text``, or ValueError if it is no frames x clips x crops, or if no memory would hold such a clip."""
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[13]", text):
        raise ValueError("views are frames x clips x crops with 1 or 3 crops, e.g. 32x3x3")
    if int(text.partition("x")[0]) > _LONGEST_CLIP:
        raise ValueError(f"a clip has {_LONGEST_CLIP} frames at most; take more clips, e.g. 32x10x1")
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

    time_in: Spec | None = None  # added to the input of the attention along time
    time_out: Spec | None = None  # applied to the output of the attention along time
    space_in: Spec | None = None  # added to the tokens before the attention within a frame
    space_out: Spec | None = None  # added to the output of the attention within a frame
    space_side: Spec | None = None  # added beside the attention within a frame, from its normalised input
    mlp_in: Spec | None = None  # added to the tokens before the MLP
    mlp_side: Spec | None = None  # added beside the MLP, from its normalised input


class AttentionSites(Section):
    qkv: Spec | None = None  # queries, keys and values
    proj: Spec | None = None  # the output projection


class MlpSites(Section):
    fc1: Spec | None = None  # the first linear layer
    fc2: Spec | None = None  # the second linear layer


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
    backbone: str = "vit_mini_patch16_clip_64"  # the name of a timm ViT or Swin, or of the small packaged backbone
    pretrained: str = "embedded"  # embedded, a timm tag, open_clip:<tag>, a weight file, or none for random weights
    backbone_options: dict[str, Any] = {}  # keywords for timm's constructor, e.g. {embed_dim: 64, depth: 2}
    image_size: Positive | None = None  # pixels of the square input; the backbone's own size by default
    mean: Channels | None = None  # mean rgb in [0, 1] of the backbone's training pixels; known from its tag by default
    std: Channels | None = None  # their standard deviation, in the same way
    num_frames: Positive | None = None  # frames of a clip; leave it out for images
    num_classes: Positive | None = None  # taken from data.num_classes
    temporal_embedding: bool = True  # learn a vector for each frame of a clip; for videos only
    order: Literal["time_first", "space_first"] = "time_first"  # which attention of a block comes first
    slots: Slots = Slots()  # adapters that add to the tokens
    space_residual: bool = True  # true: x + a + space_out(a), a = attention; false: x + space_out(a)
    linears: Linears = Linears()  # tuners of the frozen linear layers
    prompt: Spec | None = None  # prompt tokens: {tokens: 50, deep: false, dropout: 0.0}
    # which existing weights train too: the final norm, every norm, every bias, everything
    unfreeze: list[Literal["norm", "norms", "bias", "all"]] = []
    drop_path: Rate = 0.0  # chance that the last block drops a branch for a whole clip; rises linearly from the first
    # what drop_path drops: the time branch and mlp_side, as AIM does, or every residual branch
    drop_path_on: Literal["adapters", "branches"] = "adapters"
    dropout: Rate = 0.0  # before the head
    merge: bool = False  # for tests: merge the tuners into the frozen linear layers first
    zero_shot: str | list[str] | None = None  # test CLIP itself: a name of prompt templates, or a list of templates


class DataConfig(Section):
    dataset: str = "custom"  # a name; diving48, hmdb51, k400, ssv2 and ucf101 bring their class names
    train: str | None = None  # the list file to train on
    val: str | None = None  # the list file to validate on while training
    test: str | None = None  # the list file to test on; val by default
    classes: str | None = None  # a file with one class name a line, in label order; see dataset for the default
    root: str = "."  # where the lists' paths begin: a folder, shards-{000..099}.tar or shards-*.tar, an fsspec URL
    absolute_paths: bool = False  # lists may name files outside root
    num_classes: Positive  # labels are 0 to num_classes - 1; by default the number of names in classes
    decoder: Decoder = "pyav"  # the library that decodes videos
    time_limit: float | None = Field(default=60.0, gt=0)  # seconds that reading one video may take
    # seconds without a batch after which the run ends and names videos
    stall_limit: float | None = Field(default=600.0, gt=0)
    sampling: Literal["dense", "segment"] = "dense"  # frames at a fixed distance, or one from each equal part
    stride: Positive = 4  # dense: distance of two frames of a clip, in frames
    spacing: Literal["endpoints", "centers"] = "endpoints"  # dense: where test clips lie; mmaction2 1.x, or AIM
    out_of_range: Literal["loop", "repeat_last"] = "loop"  # dense: what a clip longer than the video shows
    fit: Literal["crop", "squash"] = "crop"  # squash: the whole frame becomes the square, in training and testing
    crop_scale: Range = [0.08, 1.0]  # area of the random training crop, as a share of the frame
    crop_ratio: Range = [0.75, 1.3333]  # width to height of the random training crop
    flip: Share = 0.5  # chance of a horizontal flip in training; 0 where left and right are labels
    # [operations, magnitude up to 30]
    rand_augment: list[Magnitude] | None = Field(default=None, min_length=2, max_length=2)
    erasing: Share = 0.0  # chance that a training clip loses a random box, the same in all frames
    augment_on: Literal["worker", "device"] = "worker"  # where training clips are cropped, flipped and changed
    resize: Positive | None = None  # short side in pixels before test crops; the model's image size by default
    short_side: Positive | None = None  # short side in pixels of decoded training frames and of copies in cache_dir
    cache_dir: str | None = None  # a folder for smaller copies of the videos, for training and its validation
    cache_frames: bool = False  # keep every decoded video in memory; for small data sets only
    max_bad_share: Share = 0.01  # share of unreadable training videos at which the run stops
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"  # processes that read videos; auto: one a core
    prefetch: Positive = 2  # batches that each of these processes reads ahead; in tests, videos


# Keys of the data section that say how and where videos are read, and do not change what is read. Not among them is
# augment_on: a GPU rounds pixels otherwise than the CPU, and a resumed run goes on to the same bits.
WITHOUT_EFFECT = frozenset(
    {"root", "absolute_paths", "time_limit", "stall_limit", "cache_frames", "workers", "prefetch"}
)


class OptimConfig(Section):
    epochs: Positive = 30  # passes over the training list
    batch_size: Positive = 8  # clips of a rank and pass; the global batch is batch_size x ranks x accumulate
    accumulate: Positive = 1  # backward passes before each step of the optimizer
    lr: float = Field(default=4e-4, gt=0)  # learning rate of AdamW, at its peak
    min_lr: float = Field(default=0.0, ge=0)  # learning rate at the end of the cosine schedule
    warmup_epochs: float = Field(default=0.0, ge=0)  # epochs in which the learning rate rises linearly from 0
    temporal_lr_scale: float = Field(default=1.0, gt=0)  # factor of lr for the temporal embedding, which starts at zero
    weight_decay: float = Field(default=0.05, ge=0)  # not on biases, norms, other vectors and the temporal embedding
    betas: list[Rate] = Field(default=[0.9, 0.999], min_length=2, max_length=2)  # of AdamW
    clip_grad: float | None = Field(default=None, gt=0)  # largest norm of the gradient; no limit by default
    label_smoothing: Rate = 0.0  # of the cross-entropy


class TestConfig(Section):
    views: ViewText | None = None  # frames x clips x crops, e.g. 32x3x3; num_frames x 1 x 1 by default
    fusion: Literal["softmax", "logits"] = "softmax"  # what is averaged over the views of a video
    batch_size: Positive = 8  # views of a forward pass
    on_bad: Literal["error", "count_wrong", "skip"] = "error"  # what to do with unreadable videos


class RunConfig(Section):
    out_dir: str = "runs/default"  # the folder of everything that the run writes
    seed: int = Field(default=0, ge=0, lt=2**31)  # all random numbers follow from it
    device: str = "auto"  # auto (a GPU where there is one), cpu, cuda or cuda:<number>
    # of forward and backward passes; auto: bf16 on a GPU that has it in hardware, fp32 elsewhere
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    tf32: bool = False  # fp32 products on a GPU round their factors to 10 bits, which is faster; no effect on CPUs
    deterministic: bool = False  # a GPU gives the same bits every time, more slowly; CPUs do anyway
    # what is computed again in the backward pass to save memory
    activation_checkpointing: Literal["none", "mlp", "block"] = "none"
    # less work for the host: torch.compile for each block, or the whole pass as a CUDA graph
    compile: Literal["none", "blocks", "graph"] = "none"
    shard: bool = False  # each rank of torchrun keeps a part of the frozen backbone (FSDP2); for large backbones
    threads: Positive | None = None  # of torch on the CPU; torch's own choice by default
    eval_every: Positive = 1  # epochs between two validations
    log_every: Positive = 20  # steps between two lines of metrics.jsonl
    save_every: Positive | None = None  # steps between resume states, beside those of every epoch
    keep_last: Positive = 2  # how many resume states stay
    max_bad_steps: Annotated[int, Field(ge=0)] = 10  # steps with a loss or gradient of NaN or infinity that are skipped
    resume: bool | Literal["auto"] = False  # true: continue, it is an error if nothing is there; auto: continue if so
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

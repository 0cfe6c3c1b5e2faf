"""Studies: methods x data sets x backbones x seeds, each a few overrides over one config a data set."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from videoadapt.config.naming import STUDIES, find_config, packaged_configs
from videoadapt.config.reading import load_config, override, read_yaml, validate
from videoadapt.config.sections import Config, Positive, Section
from videoadapt.errors import UserError

Overrides = list[str]  # key=value, as on the command line
Axis = Annotated[dict[str, Overrides], Field(min_length=1)]
Names = Annotated[list[str], Field(min_length=1)]


class Study(Section):
    """What a study file says. In ``base`` and in overrides, {data}, {backbone}, {variant}, {method} and {seed} stand
    for a cell's own."""

    base: str  # a config file; {data} in it makes one of each data set
    data: Names
    methods: Axis
    backbones: Axis = Field(default={"": []})
    variants: Axis = Field(default={"": []})  # e.g. shots
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    overrides: Overrides = Field(default=[])  # for every cell
    groups: dict[str, Names] = Field(default={})  # of data sets, whose means are averaged
    out_dir: str
    cost_batch: Positive | None = None  # clips of the step that is timed; the config's batch by default

    @model_validator(mode="after")
    def _grouped(self) -> "Study":
        for group, names in self.groups.items():
            if strange := [name for name in names if name not in self.data]:
                raise ValueError(f"groups.{group}: '{strange[0]}' is not in data")
        return self


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    data: str
    backbone: str
    variant: str
    method: str
    seed: int
    base: str
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """A relative path, one folder a cell."""
        parts = (self.data, self.backbone, self.variant, self.method, f"seed{self.seed}")
        return "/".join(part for part in parts if part)

    def config(self) -> Config:
        return load_config(self.base, self.overrides)


def load_study(path: str | Path) -> Study:
    """Read and check a study file, or a packaged study by its name."""
    inside = f"{STUDIES}/{path}"  # the name of a packaged study without its folder
    file = find_config(inside if inside in packaged_configs() and not Path(path).is_file() else path)
    raw = read_yaml(file, unfold=False)
    if "base" not in raw and raw.keys() & Config.model_fields:
        raise UserError(f"{path}: is the config of one training; a study names it as its base and adds methods")
    return validate(Study, raw, str(path))


def cells(study: Study) -> Iterator[Cell]:
    """Every run, data set by data set; later overrides win: the study's, backbone, variant, method."""
    axes = (study.data, study.backbones, study.variants, study.methods, study.seeds)
    for data, backbone, variant, method, seed in product(*axes):
        own = {"data": data, "backbone": backbone, "variant": variant, "method": method, "seed": str(seed)}
        chosen = (study.overrides, study.backbones[backbone], study.variants[variant], study.methods[method])
        overrides = [text for texts in chosen for text in texts]
        cell = Cell(data, backbone, variant, method, seed, _filled(study.base, own), ())
        texts = [*(_filled(text, own) for text in overrides), f"run.seed={seed}"]
        out_dir = override("run.out_dir", str(Path(study.out_dir, cell.name)))
        yield replace(cell, overrides=(*texts, out_dir))


def _filled(text: str, own: dict[str, str]) -> str:
    for key, value in own.items():
        text = text.replace(f"{{{key}}}", value)
    return text

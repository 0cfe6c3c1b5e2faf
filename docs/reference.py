"""Writes docs/configuration.md and docs/commands.md from the code: python docs/reference.py

A test compares them with what this program would write.
"""

import argparse
import inspect
import re
from pathlib import Path

from pydantic import BaseModel

from videoadapt.commands import COMMANDS, command_parser, module
from videoadapt.config import sections

HERE = Path(__file__).parent
FIELD = re.compile(r"    (\w+): (.+?)(?:  # (.*))?$")
SECTIONS = {
    "model": (sections.ModelConfig, "Backbone, adapters and head."),
    "model.slots": (sections.Slots, "Each takes `{kind: name, **options}`; the kinds are in [Methods](methods.md)."),
    "model.linears.time, model.linears.space": (sections.AttentionSites, "Tuners of the attention in each view."),
    "model.linears.mlp": (sections.MlpSites, "Tuners of the MLP."),
    "data": (sections.DataConfig, "Lists, decoding, sampling and augmentation."),
    "optim": (sections.OptimConfig, "AdamW and its schedule: a linear warm-up, then a cosine."),
    "test": (sections.TestConfig, "How a test looks at each video."),
    "run": (sections.RunConfig, "Where a run writes, how it computes, and how it continues."),
}


def main() -> None:
    (HERE / "configuration.md").write_text(configuration(), encoding="utf-8")
    (HERE / "commands.md").write_text(commands(), encoding="utf-8")


def configuration() -> str:
    """Every key of a config."""
    lines = [
        "# Configuration",
        "",
        "Every key of a config, its default and its meaning. A config is one YAML file. On the command line,",
        "`key=value` overrides any key: `videoadapt train my.yaml optim.lr=1e-3 model.slots.time_out=null`. A wrong",
        "key, type or value is an error that names the key and the nearest valid one.",
        "",
        "This page is written by `python docs/reference.py` from `videoadapt/config/sections.py`.",
    ]
    for name, (section, about) in SECTIONS.items():
        lines += ["", f"## {name}", "", about, "", "| key | values | default | meaning |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in _keys(section)]
    return "\n".join(lines) + "\n"


def _keys(section: type[BaseModel]) -> list[tuple[str, ...]]:
    rows, above = [], ""
    for line in inspect.getsource(section).splitlines():
        if line.startswith("    # "):
            above = line.removeprefix("    # ")
        elif (match := FIELD.match(line)) and match[1] in section.model_fields:
            rows.append((f"`{match[1]}`", *_values(section, match[1]), match[3] or above))
            above = ""
    assert len(rows) == len(section.model_fields), section
    return rows


def _values(section: type[BaseModel], key: str) -> tuple[str, str]:
    """The kind of value a key takes, and its default."""
    field = section.model_fields[key]
    text = re.sub(r"Annotated\[(\w+).*", r"\1", str(field.annotation))
    text = re.sub(r"typing\.|<class '|'>|NoneType|videoadapt\.config\.sections\.", "", text)
    text = re.sub(r"Literal\[(.*?)\]", lambda m: m[1].replace("'", "").replace(", ", " or "), text)
    text = text.replace(" | None", "").replace("|", "or").replace("Optional[", "").strip()
    words = {"bool": "true or false", "int": "number", "float": "number", "str": "text", "dict[str, Any]": "mapping"}
    kind = " or ".join(words.get(part.strip(), part.strip()) for part in text.split(" or "))
    if field.is_required():
        return kind, "required"
    default = field.get_default()
    if isinstance(default, BaseModel):
        return "section", "`{}`"
    shown = {None: "none", True: "`true`", False: "`false`"}
    return kind, shown[default] if default is None or isinstance(default, bool) else f"`{default}`"


def commands() -> str:
    """Every command with its arguments."""
    lines = [
        "# Commands",
        "",
        "Every command and its options. `videoadapt --help` lists the commands, `videoadapt COMMAND --help` one of",
        "them. `python -m videoadapt` is the same as `videoadapt`; `torchrun ... -m videoadapt train` starts several",
        "ranks.",
        "",
        "| exit code | meaning |",
        "|---|---|",
        "| 0 | success |",
        "| 1 | `videoadapt check` has found files that cannot be used; or a bug, with a traceback |",
        "| 2 | a mistake that you can correct: one line on stderr names it and the remedy |",
        "| 3 | another rank of a torchrun job has failed |",
        "| 75 | the run was stopped by a signal and saved itself |",
        "| 130 | interrupted with Ctrl-C |",
        "",
        "This page is written by `python docs/reference.py` from `videoadapt/commands/`.",
    ]
    for heading, names in COMMANDS.items():
        lines += ["", f"## {heading}"]
        for name in names:
            text = (module(name).__doc__ or "").strip()
            lines += [
                "",
                f"### videoadapt {name}",
                "",
                "```text",
                text,
                "```",
                "",
                "| argument | meaning |",
                "|---|---|",
            ]
            lines += [f"| {_cell(_name(a))} | {_cell(a.help or '')} |" for a in command_parser(name)._actions[1:]]
    return "\n".join(lines) + "\n"


def _name(action: argparse.Action) -> str:
    metavar = action.metavar or ("{" + ",".join(action.choices) + "}" if action.choices else action.dest.upper())
    if not action.option_strings:
        return f"`{metavar if isinstance(metavar, str) else metavar[0]}`"
    return f"`{action.option_strings[-1]}{'' if action.nargs == 0 else f' {metavar}'}`"


def _cell(text: str) -> str:
    """For a table: no bars, braces as code, and outside of code no tags."""
    text = text if "`" in text else re.sub(r"\{[^}]*\}", r"`\g<0>`", text)
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


if __name__ == "__main__":
    main()

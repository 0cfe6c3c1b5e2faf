"""Damaged and hostile files of every kind: python tests/fuzz_inputs.py [--inputs 5000] [--seed 0]

Configs, lists, checkpoints, resume states and weight files are mutated; each must be taken, or refused in one line with
exit code 2. Nothing in them may run, and no file may be left half-written.
"""

import argparse
import contextlib
import io
import json
import pickle
import random
import struct
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from chaos import write_problem
from conftest import tiny

import videoadapt
from videoadapt import builders
from videoadapt.commands.common import guarded
from videoadapt.config import load_config
from videoadapt.engine.checkpoint import save_checkpoint, trainable_tensors
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.folder import read_state
from videoadapt.engine.learner import Learner
from videoadapt.models.pretrained import read_state_dict

_WORDS = (
    "&a", "*a", "<<: *a", "!!python/object/apply:os.system ['touch {marker}']", "!!binary x", "!!set {a}", "? ", ": ",
    "- ", "{", "}", "[", "]", "[" * 300, "{a: " * 300, "\t", "\0", "\x85", "\ufeff", "é", "\U0001f600", "\ud800", "nan",
    ".inf", "-1", "0", "1e999", "9" * 25, "1_000", "0x1F", "2026-01-01", "null", "~", "true", "yes", "''", '"', "'",
    "#", "%YAML 9", "---", "...", "..", "/etc/passwd", "../../x", "path,label", ",", " ", "\r", "\n", "\n\n", "a.mp4 1",
)  # fmt: skip
_VALUES = (
    None, True, False, 0, -1, 1, 2, 7, 10**25, 0.5, -0.5, float("inf"), float("nan"), "", "x", "karst", [], [1],
    [0.1, 0.2], {}, {"kind": "loki"}, {"kind": "lora", "rank": -3}, {"a": {"b": 1}}, "../x", [None], [[1]], "none",
    "open_clip:x",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind, counts in fuzz(Path(folder), args.inputs, random.Random(args.seed)).items():
            print(f"{kind}: {counts[0]:,} taken, {counts[2]:,} refused in one line")


def fuzz(folder: Path, inputs: int, rng: random.Random) -> dict[str, Counter]:
    """Exit codes by kind of file; AssertionError for anything but success or one line and 2."""
    kinds = _kinds(folder)
    counts = {kind: Counter() for kind in kinds}
    for number in range(inputs):
        kind = list(kinds)[number % len(kinds)]
        original, mutate, use = kinds[kind]
        content = mutate(original, rng)
        path = folder / f"input{original.suffix}"
        path.write_bytes(content)
        before = sorted(folder.iterdir())
        code, err = outcome(use, path)
        assert code in (0, 2), f"{kind} {number}: exit code {code}: {err}"
        assert err.count("\n") == (code == 2), f"{kind} {number}: {err}"
        assert sorted(folder.iterdir()) == before, f"{kind} {number}: files came or went"
        counts[kind][code] += 1
    return counts


def outcome(use: Callable[[Path], object], path: Path) -> tuple[int, str]:
    """Exit code and stderr of a program that uses the file; whatever else it raises is a bug and comes through."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        try:
            guarded(lambda: use(path))
        except SystemExit as stop:
            return stop.code, err.getvalue()
    return 0, ""


def _kinds(folder: Path) -> dict[str, tuple[Path, Callable, Callable]]:
    """For each kind of file a good one, how it is mutated, and what reads it."""
    config_path = write_problem(folder)
    config = load_config(config_path)
    section = tiny(slots={"mlp_side": {"kind": "adapter", "widths": [4]}})
    model = videoadapt.build_model(section)
    about = {
        "config": {"model": section.model_dump(), "data": {"num_classes": 5}},
        "classes": list("abcde"),
        "fingerprint": model.fingerprint,
    }
    checkpoint, state, weights = (folder / name for name in ("good.safetensors", "good.pt", "good.bin"))
    save_checkpoint(checkpoint, trainable_tensors(model), about)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    learner = Learner(model, optimizer, None, torch.amp.GradScaler("cpu", enabled=False))
    model(torch.randn(1, 3, 4, 32, 32)).sum().backward()
    optimizer.step()
    progress = {"step": 1}
    torch.save({"format": "videoadapt-resume-1", "layout": {}, "progress": progress, **learner.state()}, state)
    torch.save(model.backbone.state_dict(), weights)

    def use_config(path: Path) -> None:
        found = load_config(path)
        builders.build_model(found.model, "meta")
        builders.build_recipe(found)
        builders.test_views(found)

    def use_list(path: Path) -> None:
        data = config.data.model_copy(update={"train": str(path)})
        builders.build_train_loader(config.model_copy(update={"data": data}), Ranks(torch.device("cpu")))

    def use_state(path: Path) -> None:
        learner.load(read_state(path), str(path))
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        optimizer.step()

    return {
        "config, its text": (config_path, text_mutation(folder), use_config),
        "config, its values": (config_path, value_mutation, use_config),
        "list": (folder / "list.csv", text_mutation(folder), use_list),
        "checkpoint": (checkpoint, checkpoint_mutation, videoadapt.load_checkpoint),
        "resume state": (state, byte_mutation, use_state),
        "resume state, its values": (state, state_mutation, use_state),
        "weight file": (weights, byte_mutation, read_state_dict),
    }


def text_mutation(folder: Path) -> Callable[[Path, random.Random], bytes]:
    """A few words put in, lines doubled, dropped or swapped, or bytes changed."""

    def mutate(original: Path, rng: random.Random) -> bytes:
        lines = original.read_text().splitlines(keepends=True)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(lines))
            act = rng.choice(["insert", "insert", "drop", "double", "swap", "word"])
            word = rng.choice(_WORDS).replace("{marker}", str(folder / "executed"))
            if act == "insert":
                cut = rng.randint(0, len(lines[place]))
                lines[place] = lines[place][:cut] + word + lines[place][cut:]
            elif act == "drop" and len(lines) > 1:
                del lines[place]
            elif act == "double":
                lines.insert(place, lines[place])
            elif act == "swap":
                other = rng.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            else:
                lines[place] = f"{lines[place].partition(':')[0]}: {word}\n"
        content = "".join(lines).encode(errors="surrogatepass")
        return _bytes_changed(content, rng) if rng.random() < 0.2 else content

    return mutate


def value_mutation(original: Path, rng: random.Random) -> bytes:
    """A config in which some value is another one, of any type, or has another key."""
    tree = yaml.safe_load(original.read_text())
    for _ in range(rng.randint(1, 2)):
        node, path = tree, []
        while isinstance(node, dict) and node and (not path or rng.random() < 0.8):
            path.append((node, rng.choice(list(node))))
            node = node[path[-1][1]]
        parent, key = path[-1]
        if rng.random() < 0.2:
            parent[key + rng.choice("x_. ")] = parent.pop(key)
        else:
            parent[key] = rng.choice(_VALUES)
        if not isinstance(tree, dict) or not tree:
            break
    return yaml.dump(tree, allow_unicode=True).encode()


def checkpoint_mutation(original: Path, rng: random.Random) -> bytes:
    """Bytes changed anywhere, or the header's own facts, or the numbers."""
    content = original.read_bytes()
    act = rng.choice(["bytes", "header", "about", "numbers"])
    size = struct.unpack("<Q", content[:8])[0]
    header, numbers = json.loads(content[8 : 8 + size]), content[8 + size :]
    if act == "bytes":
        return _bytes_changed(content, rng)
    if act == "numbers":
        value = rng.choice([b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f"])  # NaN, infinity
        place = 4 * rng.randrange(len(numbers) // 4)
        return content[: 8 + size] + numbers[:place] + value + numbers[place + 4 :]
    name = rng.choice(list(header))
    if act == "about" or name == "__metadata__":
        facts = header["__metadata__"]
        key = rng.choice(list(facts))
        junk = ["", "null", "[]", "{}", "3", '{"model": 3}', '{"model": {}}', facts[key][:-3], "[" * 5000]
        facts[key] = rng.choice(junk)
        if rng.random() < 0.3:
            del facts[key]
    else:
        entry = header[name]
        field = rng.choice(["dtype", "shape", "data_offsets", "name"])
        change = {"dtype": "F16", "shape": [rng.choice([0, 1, 10**18])], "data_offsets": [0, 4]}
        if field == "name":
            header[name + "x"] = header.pop(name)
        else:
            entry[field] = change[field]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def state_mutation(original: Path, rng: random.Random) -> bytes:
    """A resume state, whole as a file, in which some value is another one."""
    tree = torch.load(original, weights_only=True)
    node, key = tree, rng.choice(["tensors", "optimizer", "optimizer", "scaler", "progress", "layout", "format"])
    while isinstance(node[key], dict) and node[key] and rng.random() < 0.9:
        node = node[key]
        key = rng.choice(list(node))
    tensors = [torch.zeros(1), torch.zeros(3, 3), torch.tensor(1), torch.eye(2).to_sparse(), torch.tensor(float("nan"))]
    if rng.random() < 0.2:
        del node[key]
    else:
        node[key] = rng.choice([*_VALUES, *tensors, *tensors])
    content = io.BytesIO()
    torch.save(tree, content)
    return content.getvalue()


def byte_mutation(original: Path, rng: random.Random) -> bytes:
    """Bytes changed, cut off, or all of them another file's."""
    if rng.random() < 0.1:
        return rng.choice([b"", b"x", b"PK\x03\x04" + b"\0" * 64, pickle.dumps({"a": 1}), b"\x80\x04."])
    return _bytes_changed(original.read_bytes(), rng)


def _bytes_changed(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 3, 20])):
        place = rng.randrange(len(changed)) if rng.random() < 0.5 else rng.randrange(min(len(changed), 2000))
        changed[place] = rng.randrange(256)
    if rng.random() < 0.3:
        del changed[rng.randrange(len(changed)) :]
    return bytes(changed)


if __name__ == "__main__":
    main()

"""The documentation: its commands run, what it names exists, its links lead somewhere, its four steps are enough."""

import ast
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import TOOLS

from videoadapt.adapters import SLOTS, TUNERS
from videoadapt.adapters.attach import merge_linears
from videoadapt.commands import NAMES, command_parser
from videoadapt.config import find_config

ROOT = TOOLS.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TRAIN = [sys.executable, "-m", "videoadapt", "train"]
QUIET = {"NO_MKDOCS_2_WARNING": "1"}  # of the theme, about its successor
_BLOCK = re.compile(r"(<!-- runs on the demo -->\n)?```(\w*)\n(.*?)```", re.DOTALL)


def _blocks(page, language=None, marked=False):
    for mark, kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if (mark or not marked) and (language is None or kind == language):
            yield kind, text


def _commands(text):
    """Command lines, continued ones joined, without comments and what the shell does with their output."""
    lines = (re.split(r" {3,}#| > | \| ", line)[0].strip() for line in _joined(text).splitlines())
    return [part.strip() for line in lines for part in line.split("&&") if _words(part)]


def _joined(text):
    """With continued lines in one."""
    return re.sub(r"\\\n\s*", " ", text)


def _words(command):
    """Sub-command and arguments of a line for ``videoadapt``, alone or under torchrun; nothing for other lines."""
    match = re.match(r"\s*(?:torchrun .*-m )?videoadapt +(.*)", command)
    return shlex.split(match[1]) if match else []


RUNNABLE = [(page, number) for page in PAGES for number, _ in enumerate(_blocks(page, marked=True))]
WRITTEN = [(page.name, line) for page in PAGES for _, text in _blocks(page) for line in _commands(text)]
WRITTEN += [(p.name, p.read_text().split("\n")[0][2:]) for p in ROOT.glob("configs/**/*.yaml")]


@pytest.fixture(scope="module")
def workspace(demo, tmp_path_factory):
    """A folder outside the clone, with what ``videoadapt demo`` leaves, from few videos and one epoch."""
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(demo, folder / "runs" / "demo")
    return folder


@pytest.mark.parametrize(("page", "number"), RUNNABLE, ids=lambda value: getattr(value, "stem", value))
def test_what_a_page_says_runs(page, number, workspace, tool, monkeypatch):
    monkeypatch.chdir(workspace)
    kind, text = list(_blocks(page, marked=True))[number]
    if kind == "python":
        exec(compile(text, page.name, "exec"), {"__name__": "page"})
        return
    lines = _commands(text)
    assert len(lines) == len([line for line in _joined(text).splitlines() if line.strip()])
    for line in lines:
        name, *arguments = _words(line)
        if name == "train":
            arguments += ["optim.epochs=1", "optim.batch_size=4", "run.overwrite=true"]
        code, _, err = tool(name, *arguments)
        assert code == 0, f"{line}\n{err}"


def test_enough_of_the_documentation_runs():
    assert len(RUNNABLE) >= 8 and len(WRITTEN) > 150


@pytest.mark.parametrize(("page", "line"), WRITTEN, ids=lambda value: value[:60])
def test_what_is_written_exists(page, line):
    """Every sub-command, option and packaged config that a page or the head of a config names."""
    name, *arguments = _words(line.split("      ")[0])
    if name.startswith("--"):
        assert name in {"--help", "--version", "--print-completion"}
        return
    if "--help" in arguments:
        assert name in NAMES
        return
    parsed = command_parser(name).parse_args(arguments)
    named = [getattr(parsed, key, None) for key in ("config", "study", "name")]
    named += [text for text in getattr(parsed, "arguments", []) if "=" not in text]
    for text in filter(None, named):
        if "/" in text and not text.startswith("runs/"):
            assert find_config(text).is_file()


def test_the_pages_of_keys_and_commands_are_those_of_the_code():
    """After a change: python docs/reference.py"""
    reference = runpy.run_path(str(ROOT / "docs" / "reference.py"))
    for name in ("configuration", "commands"):
        assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == reference[name]()


def test_the_site_builds_without_a_broken_link_or_an_orphan(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **QUIET})
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    assert 'id="videoadapt.workflows.adaptation.adapt"' in text and "fifth of each class" in text
    assert len(list(tmp_path.glob("*/index.html"))) == len(list(ROOT.glob("docs/*.md"))) - 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_is_python(page):
    for _, text in _blocks(page, "python"):
        if not re.match(r"from \S+ import \w+\nSLOTS|\s+\"", text):  # pieces of a file
            ast.parse(text)


SIZES = {  # options, and what the page's letters stand for with them
    "loki": ({"widths": [6, 13, 6]}, {"n": 6, "h": 13}),
    "kan": ({"widths": [5]}, {"h": 5}),
    "adapter": ({"widths": [7]}, {"w": 7}),
    "adaptformer": ({"width": 7}, {"w": 7}),
    "convpass": ({"width": 7}, {"w": 7}),
    "st_adapter": ({"width": 7, "kernel": 5}, {"w": 7, "k": 5}),
    "lora": ({"rank": 3}, {"r": 3}),
    "karst": ({"m": 4, "kernels": 3, "rank": 2, "rst": "none"}, {"N": 3, "m": 4, "r": 2}),
    "ssf": ({}, {}),
    "bitfit": ({}, {}),
}


@pytest.mark.parametrize("kind", SIZES)
def test_the_sizes_of_the_methods_page_are_those_of_the_modules(kind):
    options, letters = SIZES[kind]
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{kind}` \|.*$", text, re.MULTILINE)
    formula = re.search(r"`([^`]+)`", row.split("|")[4])[1].replace("²", "**2")
    product = re.sub(r"(?<=[0-9A-Za-z)])\s*(?=[A-Za-z(])", "*", formula)
    if kind in SLOTS:
        made = SLOTS[kind](48, **options)
    else:
        made = TUNERS[kind](torch.nn.Linear(48, 96).requires_grad_(False), **options)
    size = sum(p.numel() for p in made.parameters() if p.requires_grad)
    assert eval(product, {"D": 48, "I": 48, "O": 96, **letters}) == size, formula


def test_a_new_adapter_takes_the_four_steps_and_nothing_else(tmp_path, video_set):
    """docs/extending.md to the letter, in a copy of the package."""
    for name in ("videoadapt", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    page = ROOT / "docs" / "extending.md"
    (_, file), (_, row), (_, options) = _blocks(page, "python")
    ((_, config),) = _blocks(page, "yaml")
    (tmp_path / file.split("\n")[0].removeprefix("# ")).write_text(file)
    _insert(tmp_path / "videoadapt" / "adapters" / "__init__.py", "SLOTS = {\n", row)
    _insert(tmp_path / "tests" / "test_adapters.py", "SLOT_OPTIONS = {\n", f"SLOT_OPTIONS = {{\n{options}")
    laws = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "gated"]
    result = _run([*laws, "tests/test_adapters.py"], tmp_path)
    assert result.returncode == 0 and re.search(r"\d\d passed", result.stdout), result.stdout[-3000:]
    lists = {key: str(video_set / f"{key}.csv") for key in ("train", "val")}
    data = {**lists, "root": str(video_set), "num_classes": 3, "workers": 0}
    text = f"{config}data: {data}\noptim: {{epochs: 1, batch_size: 4}}\nrun: {{out_dir: run}}\n"
    (tmp_path / "new.yaml").write_text(text)
    result = _run([*TRAIN, "new.yaml"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "best.safetensors").is_file()
    result = _run([*TRAIN, "new.yaml", "model.slots.mlp_side.widht=3"], tmp_path)
    assert result.returncode == 2 and "model.slots.mlp_side: unknown key 'widht'; did you mean 'width'" in result.stderr


def test_a_tuner_of_ones_own_project_needs_no_change_of_the_package(monkeypatch):
    ((_, text),) = _blocks(ROOT / "docs" / "extending.md", "py")
    monkeypatch.setattr("videoadapt.adapters.TUNERS", names := dict(TUNERS))
    monkeypatch.setattr("videoadapt.builders.model.TUNERS", names)
    space: dict = {}
    exec(compile(text, "extending.md", "exec"), space)
    model, clip = space["model"].double().eval(), torch.randn(1, 3, 8, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        for block in model.backbone.blocks:
            block.attn.qkv.scale += 0.1 * torch.randn(384)
        before = model(clip)
        torch.testing.assert_close(merge_linears(model)(clip), before, rtol=0, atol=1e-10)


def _insert(path, before, text):
    source = path.read_text()
    assert source.count(before) == 1
    path.write_text(source.replace(before, text))


def _run(command, folder):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300)

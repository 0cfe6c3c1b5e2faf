"""The command ``videoadapt``: found fast, grouped on one screen, completed by shells; one line for every mistake."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import TOOLS

from videoadapt.commands import COMMANDS, NAMES, SHELLS, completion, overview
from videoadapt.config import load_config, load_study
from videoadapt.workflows.demo import ROWS, row_overrides

FILES = {"lists": "prepare_lists", "check": "check_videos", "shards": "make_shards", "import-aim": "import_aim"}
ASKED = "train test predict attention analyze study export fuse hub lists check shards benchmark demo digits import-aim"


def _run(*command, folder=None):
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_overview_fits_one_screen():
    lines = overview().splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    for heading, names in COMMANDS.items():
        place = lines.index(heading)
        assert [line.split()[0] for line in lines[place + 1 : place + 1 + len(names)]] == list(names)
    assert set(NAMES) == {*ASKED.split(), "configs"}


def test_help_and_wrong_arguments_import_no_torch():
    """Of every command, in one process; what is slow to import is imported when a command runs."""
    code = """import sys
from videoadapt.commands import NAMES, command_parser, dispatch, overview
from videoadapt.errors import UserError
print(overview())
for name in NAMES:
    command_parser(name).format_help()
    for arguments in ([name, "--no-such-option"], [name + "x"]):
        try:
            dispatch(arguments)
        except UserError as error:
            print(error)
dispatch(["configs"])
slow = {"torch", "torchvision", "timm", "av", "matplotlib", "sklearn", "open_clip", "tensorboard"} & sys.modules.keys()
assert not slow, slow
"""
    result = _run("-c", code)
    assert result.returncode == 0, result.stderr
    assert (
        result.stdout.count("--help' tells more") == len(NAMES) + 1
        and "'trainx'; did you mean 'train'" in result.stdout
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name, tool):
    code, out, err = tool(name, "--help")
    assert code == 0 and not err
    assert out.startswith(f"usage: videoadapt {name} ") and "tools/" not in out


def test_the_files_in_tools_are_the_same_commands():
    names = {name: FILES.get(name, name) for name in ASKED.split()}
    assert {path.stem for path in TOOLS.glob("*.py")} == {*names.values(), "pretrain_mini"}
    for name, file in names.items():
        source = (TOOLS / f"{file}.py").read_text()
        assert f'main(["{name}", *sys.argv[1:]])' in source and len(source.splitlines()) < 12
    result = _run(TOOLS / "check_videos.py", "--help")
    assert result.returncode == 0 and result.stdout.startswith("usage: videoadapt check ")


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_commands_and_options(shell, tmp_path):
    script = completion(shell)
    assert all(name in script for name in NAMES) and "min-frames" in script and "import-aim" in script
    if (program := shutil.which(shell)) is None:
        return  # what the shell thinks of it is asked where it is installed
    (tmp_path / "completion").write_text(script)
    assert subprocess.run([program, "-n", tmp_path / "completion"]).returncode == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_what_was_begun(tmp_path):
    (tmp_path / "completion").write_text(completion("bash"))
    ask = """source completion
function _filedir() { :; }
COMP_WORDS=(videoadapt %s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE="${COMP_WORDS[*]}"
$(complete -p videoadapt | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); printf '%%s\\n' "${COMPREPLY[@]}\""""
    (tmp_path / "mine.yaml").touch()
    cases = (("tr", "train"), ("check --mi", "--min-frames"), ("hub pu", "push"), ("train mi", "mine.yaml"))
    for begun, expected in cases:
        result = subprocess.run(["bash", "-c", ask % begun], cwd=tmp_path, capture_output=True, text=True)
        assert expected in result.stdout.split(), result.stderr


BUFFERS = {"buffered": {}, "unbuffered": {"PYTHONUNBUFFERED": "1"}}


def _in_a_shell(line, buffers):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"} | BUFFERS[buffers]
    command = ["sh", "-c", line.replace("videoadapt", f"{sys.executable} -m videoadapt")]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


@pytest.mark.parametrize("buffers", BUFFERS)
@pytest.mark.parametrize("arguments", ["--help", "configs vtab", "--print-completion zsh", "train --help"])
def test_a_pager_that_has_seen_enough_is_no_error(arguments, buffers):
    assert not _in_a_shell(f"videoadapt {arguments} | true", buffers).stderr


@pytest.mark.parametrize("buffers", BUFFERS)
@pytest.mark.parametrize("arguments", ["--help", "configs", "configs demo/loki_mini_8f", "train --help"])
def test_output_that_is_lost_is_told(arguments, buffers):
    result = _in_a_shell(f"videoadapt {arguments} > /dev/full", buffers)
    assert result.returncode == 2
    assert result.stderr == "error: the output cannot be written: No space left on device\n"


def test_another_pipe_that_breaks_is_a_bug_and_keeps_its_traceback():
    code = """from videoadapt.commands.common import guarded
def job():
    raise BrokenPipeError(32, "of a socket")
guarded(job)"""
    result = _run("-c", code)
    assert result.returncode == 1 and result.stderr.endswith("BrokenPipeError: [Errno 32] of a socket\n")


MISTAKES = {
    "an unknown command": (["trian"], "there is no command 'trian'; did you mean 'train'?"),
    "nothing like it": (["xyzzy"], "there is no command 'xyzzy'; 'videoadapt --help' lists the commands"),
    "an unknown config": (
        ["train", "diving48/loki_clip_b16_8"],
        "diving48/loki_clip_b16_8: there is no such file, and no packaged config has this name; "
        "did you mean 'diving48/loki_clip_b16_8f'?",
    ),
    "a config of a misspelt folder": (
        ["configs", "divng48/loki_clip_b16_8f"],
        "did you mean 'diving48/loki_clip_b16_8f'?",
    ),
    "an empty name": (["train", ""], "the name of the config is empty; name a YAML file or a packaged config"),
    "an unknown file": (["test", "my.yaml"], "my.yaml: there is no such file, and no packaged config has this name"),
    "a folder of the package": (
        ["train", "diving48"],
        "diving48: is a folder; name a config in it, e.g. diving48/aim_clip_b16_16f",
    ),
    "a folder of a clone": (
        ["analyze", "configs/ssv2/"],
        "is a folder; name a config in it, e.g. ssv2/aim_clip_b16_8f",
    ),
    "a study for a config": (["train", "studies/digits"], "studies/digits: is a study, which 'videoadapt study' runs"),
    "a config for a study": (["study", "digits/linear_mini"], "digits/linear_mini: is the config of one training"),
    "an unknown study": (["study", "studies/digit"], "did you mean 'studies/digits'?"),
    "an unknown option": (["train", "x", "--resume"], "unrecognized arguments: --resume; 'videoadapt train --help'"),
    "no config": (["train"], "the following arguments are required: CONFIG; 'videoadapt train --help' tells more"),
    "an abbreviated option": (["check", "x.csv", "--abs"], "unrecognized arguments: --abs"),
    "no tar of less than nothing": (["shards", "x.csv", "--out", "y", "--megabytes", "-1"], "--megabytes -1: must be"),
    "a demo of nothing": (["demo", "--val-per-class", "0"], "--val-per-class: at least one video of each class"),
    "an override of the demo": (["demo", "optim.lr=oops"], "optim.lr: input should be a valid number, got 'oops'"),
    "no override of the demo": (["demo", "a"], "override 'a': expected key=value"),
    "a list that is not there": (
        ["check", "no/list.csv", "--report", "new/r.csv"],
        "no/list.csv: cannot read the list file: No such file or directory; 'videoadapt lists' makes lists",
    ),
    "a name that is too long": (["train", "a" * 300], "cannot be looked up (File name too long)"),
    "an unknown shell": (["--print-completion", "csh"], "--print-completion 'csh': choose from: bash, zsh, fish"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_code_2(name, tool, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments, message = MISTAKES[name]
    code, out, err = tool(*arguments)
    assert code == 2 and err.startswith("error: ") and message in err and err.count("\n") == 1 and not out
    assert not list(tmp_path.iterdir())


def test_a_folder_with_configs_names_one_of_them(tool, tmp_path):
    (tmp_path / "mine.yaml").write_text("data: {num_classes: 2}")
    code, _, err = tool("train", tmp_path)
    assert code == 2 and f"is a folder; name a config in it, e.g. {tmp_path / 'mine.yaml'}" in err


def test_a_file_without_its_suffix_is_recognised(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    assert tool("train", "mine")[2].endswith("no packaged config has this name; did you mean 'mine.yaml'?\n")


def test_a_file_comes_before_a_packaged_config(tmp_path, tool, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "linear_mini").write_text("data: {num_classes: 2}")
    assert '"trainable": 258' in tool("analyze", "digits/linear_mini", "--json")[1]
    assert '"trainable": 1290' in tool("analyze", "digits/linear_mini.yaml", "--json")[1]


def test_equals_signs_and_slashes_in_names(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.yaml").write_text("data: {num_classes: 2}")
    assert '"trainable": 387' in tool("analyze", "a=b.yaml", "data.num_classes=3", "--json")[1]
    for folder in ("demo", "demo/", "configs/demo"):
        assert "demo/loki_mini_8f" in tool("configs", folder)[1]
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe")
    assert tool("configs", "x.yaml") == (2, "", "error: x.yaml: is no config, its text is not UTF-8\n")


def test_a_config_may_come_through_a_pipe():
    reader, writer = os.pipe()
    os.write(writer, b"data: {num_classes: 2}")
    os.close(writer)
    assert load_config(f"/dev/fd/{reader}").data.num_classes == 2
    os.close(reader)


def test_the_demo_goes_into_a_folder_of_any_name(tmp_path):
    for name in ("my #1", "1e3: x", "[a]"):
        config = load_config("demo/loki_mini_8f", row_overrides(ROWS[0], tmp_path / name, seed=0))
        assert config.data.train == str(tmp_path / name / "data" / "train.csv")
        assert config.run.out_dir == str(tmp_path / name / "head")


def test_a_packaged_study_has_a_short_name_too():
    assert load_study("digits") == load_study("studies/digits")  # and not the folder of configs of that name


def test_a_packaged_config_is_printed_to_start_from(tool):
    code, out, _ = tool("configs", "demo/loki_mini_8f")
    assert code == 0 and out == (TOOLS.parent / "configs" / "demo" / "loki_mini_8f.yaml").read_text()
    code, out, _ = tool("configs")
    row = next(line for line in out.splitlines() if "diving48/loki_clip_b16_32f" in line)
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "diving48/loki_clip_b16_32f", "diving48", "32x1x1", "6,098,928", "89.5 / 99.0",
    ]  # fmt: skip
    assert "studies/loki_table1" in out and "studies" not in tool("configs", "vtab")[1]

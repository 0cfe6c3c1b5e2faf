"""Installs the project with exactly the lower bounds of its metadata, in a folder of its own, and runs a short suite.

    make lower-bounds
    .venv/bin/python tests/lower_bounds.py tests/test_weights.py -x    # other tests, arguments of pytest

Needs the network, 7 GB of disk, and some ten minutes. The folder is removed at the end.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
EXTRAS = ["webdataset", "onnx", "hub"]  # each release of torchcodec is for one of torch: no bound of its own
TOOLS = {"pytest", "pytest-xdist", "filelock", "hypothesis", "h5py", "setuptools"}  # of the tests, at any release
SUITE = [
    "test_dependencies",
    "test_decode",
    "test_zoo",
    "test_animations",
    "test_shown",
    "test_store",
    "test_sampling",
    "test_image_sets",
    "test_config",
    "test_models",
    "test_backbones",
    "test_adapters",
    "test_weights",
    "test_weight_files",
    "test_activation",
    "test_zero_shot",
    "test_engine",
    "test_cost",
    "test_export",
    "test_interchange",
    "test_report",
]


def requirements(clone: Path, python: str = sys.executable) -> list[Requirement]:
    """What the metadata of the project in a folder asks for, its extras too."""
    command = [python, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", "--ignore-installed"]
    report = subprocess.run([*command, "--report", "-", str(clone)], check=True, stdout=subprocess.PIPE).stdout
    return [Requirement(line) for line in json.loads(report)["install"][0]["metadata"]["requires_dist"]]


def applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    """Whether it counts on this machine, for the project with these extras; "" is the project without any."""
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)


def lowest(requirement: Requirement) -> str:
    """The one release that the lower bound names."""
    bounds = [bound.version for bound in requirement.specifier if bound.operator == ">="]
    if len(bounds) != 1:
        raise SystemExit(f"setup.py: {requirement} has no lower bound; write {requirement.name}>=<release>")
    return f"{requirement.name}=={bounds[0]}"


def main(arguments: list[str]) -> int:
    """The exit code of pytest."""
    with tempfile.TemporaryDirectory(prefix="lower-bounds-") as folder:
        clone, environment, pins = Path(folder, "clone"), Path(folder, "venv"), Path(folder, "pins.txt")
        unwanted = shutil.ignore_patterns(
            ".venv", ".git", "build", "site", "runs", "*.egg-info", "__pycache__", ".*_cache"
        )
        shutil.copytree(ROOT, clone, ignore=unwanted)
        venv.create(environment, with_pip=True)
        python = str(environment / "bin" / "python")
        wanted = requirements(clone, python)
        bounds = sorted({lowest(requirement) for requirement in wanted if applies(requirement, ["", *EXTRAS])})
        pins.write_text("\n".join(bounds) + "\n")
        print(*bounds, sep="\n", flush=True)
        tools = {f"{each.name}{each.specifier}" for each in wanted if each.name in TOOLS and applies(each, ["dev"])}
        install = [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--constraint", str(pins)]
        subprocess.run([*install, "--editable", f"{clone}[{','.join(EXTRAS)}]", *tools], check=True)
        tests = arguments or [f"tests/{name}.py" for name in SUITE]
        return subprocess.run([python, "-m", "pytest", *tests], cwd=clone).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Builds the fake GPU once for a version of torch and of its sources, and says how a program runs on it.

    python tests/fakegpu/build.py python PROGRAM ...

runs a program with it. LD_PRELOAD puts the fake before libcudart, libcublas, libcudnn and libnccl.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = Path(sysconfig.get_paths()["purelib"])
_LIBRARIES = (
    "libtorch_cuda.so",
    "libc10_cuda.so",
    "libtorch_cuda_linalg.so",
    "libtorch_python.so",
    "libtorch_nvshmem.so",
)
_LEFT = re.compile("ErrorString|ncclGetLastError|cudnnGetVersion")  # of the real libraries
_PRODUCT = re.compile(r"[Gg]em[mv]|[Mm]atmul$|cudnnConvolution\w*(Forward|Data|Filter)$")
_COLLECTIVE = re.compile("nccl(All|Reduce|Broadcast|Bcast|Send|Recv|Gather)")


class CannotBuild(Exception):
    """Why there is no fake GPU here."""


def environment() -> dict[str, str]:
    """Variables of a process that is to see a fake GPU; builds the library if need be. FAKE_GPUS=2 gives two.

    Raises CannotBuild with the reason.
    """
    folder = str(_built())
    path = os.pathsep.join(filter(None, [folder, os.environ.get("LD_LIBRARY_PATH")]))
    return {
        **os.environ,
        "LD_PRELOAD": f"{folder}/libfake.so",
        "LD_LIBRARY_PATH": path,
        "TRITON_LIBCUDA_PATH": folder,
        "TRITON_CACHE_DIR": f"{folder}/triton",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "0",
    }


def _built() -> Path:
    for tool in ("gcc", "nm"):
        if not shutil.which(tool):
            raise CannotBuild(f"no {tool}")
    libraries = [PACKAGES / "torch" / "lib" / name for name in _LIBRARIES]
    if sys.platform != "linux" or not libraries[0].exists():
        raise CannotBuild("torch is not built for CUDA on Linux")
    sources = [HERE / name for name in ("fake.h", "runtime.c", "libraries.c", "build.py")]
    key = hashlib.sha256("".join([version("torch"), *(path.read_text() for path in sources)]).encode()).hexdigest()
    folder = Path(tempfile.gettempdir(), f"fakegpu-{os.getuid()}-{key[:16]}")
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as draft:
            _build(Path(draft), _headers(), [path for path in libraries if path.exists()])
            with suppress(OSError):  # another process was faster
                Path(draft).rename(folder)
    if folder.stat().st_uid != os.getuid():
        raise CannotBuild(f"{folder} belongs to somebody else")
    return folder


def _headers() -> Path:
    """CUDA 13's, from Triton's wheel."""
    path = PACKAGES / "triton/backends/nvidia/include"
    versions = path / "cuda_runtime_api.h"
    if not versions.exists() or not re.search(r"define CUDART_VERSION +13", versions.read_text()):
        raise CannotBuild("Triton's wheel has no headers of CUDA 13")
    return path


def _build(folder: Path, headers: Path, libraries: list[Path]) -> None:
    compiler = ["gcc", "-O2", "-w", "-fPIC", "-pthread", f"-I{headers}", f"-I{HERE}"]
    objects = [folder / f"{name}.o" for name in ("runtime", "libraries", "stubs")]
    for path in objects[:2]:
        _run([*compiler, "-c", HERE / f"{path.stem}.c", "-o", path])
    missing = {name for path in libraries for name in _symbols("-D", "--undefined-only", path)}
    missing -= {name for path in objects[:2] for name in _symbols("--defined-only", path)}
    stubs = [_stub(name) for name in sorted(missing) if re.match("(__)?(cuda|cublas|cudnn|nccl)", name)]
    objects[2].with_suffix(".c").write_text('#include "fake.h"\n' + "".join(stubs))
    _run([*compiler, "-c", objects[2].with_suffix(".c"), "-o", objects[2]])
    _run([*compiler, "-shared", *objects, "-o", folder / "libfake.so"])
    for name in ("libcuda.so.1", "libcuda.so"):
        (folder / name).symlink_to("libfake.so")


def _stub(name: str) -> str:
    """A function that succeeds, and counts what gives the device something to do."""
    if _LEFT.search(name):
        return ""
    if _PRODUCT.search(name):
        return f'int {name}(void **handle) {{ return on_handle("{name}", handle); }}\n'
    work = f'start("{name}", 0)' if _COLLECTIVE.match(name) else "0"
    return f"int {name}(void) {{ return {work}; }}\n"


def _symbols(*arguments: str | Path) -> set[str]:
    return {line.split()[-1].partition("@")[0] for line in _run(["nm", *arguments]).splitlines() if line.strip()}


def _run(command: list) -> str:
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], environment())

"""Files of ``torch.save`` and TorchScript, which are pickles and programs, read without executing anything in them."""

import io
import pickle
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_tensors(path: Path) -> Any:
    """Tensors in containers; ValueError, with a reason in half a line, for whatever else the file holds.

    Of TorchScript, such as OpenAI's files, it is the parameters and buffers by name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch guesses about strange files; the reason says enough
        try:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    if wrong := archive.testzip():  # torch does not look at the checksums that it writes
                        raise ValueError(f"{wrong} is damaged")
                    if _is_script(archive):
                        return _state_dict(_TorchScript(archive).load())
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # what the reader makes of any bytes at all
            text = str(error).strip().splitlines()
            what = text[0].split(". ")[0] if text else "it says no more"
            raise ValueError(f"{type(error).__name__}: {what}") from None


def script_classes(path: Path) -> set[str]:
    """Names of the classes of the modules in a TorchScript file; none of any other file."""
    if not zipfile.is_zipfile(path):
        return set()
    with zipfile.ZipFile(path) as archive:
        if not _is_script(archive):
            return set()
        program = archive.read(f"{_folder(archive)}/data.pkl")
    named = [str(argument) for code, argument, _ in pickletools.genops(program) if code.name == "GLOBAL"]
    return {name.split(" ")[-1] for name in named if name.startswith("__torch__")}


def _is_script(archive: zipfile.ZipFile) -> bool:
    return any(name.endswith("/constants.pkl") for name in archive.namelist())  # only TorchScript has them


def _folder(archive: zipfile.ZipFile) -> str:
    return archive.namelist()[0].split("/")[0]


class _Module:
    """What a scripted module holds; its code stays where it is."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _TorchScript(pickle.Unpickler):
    """Knows tensors, containers and modules, and no other name. (``torch.jit.load`` would run ``__setstate__``.)"""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, self._folder = archive, _folder(archive)
        super().__init__(io.BytesIO(archive.read(f"{self._folder}/data.pkl")))

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if module == "torch.jit._pickle":
            return _unwrapped
        known = {("torch._utils", "_rebuild_tensor_v2"): _tensor, ("collections", "OrderedDict"): OrderedDict}
        found = _DTYPES.get(name) if module == "torch" else known.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return found

    def persistent_load(self, key: tuple) -> Tensor:
        _, dtype, name, _, count = key
        content = bytearray(self._archive.read(f"{self._folder}/data/{name}"))
        return torch.frombuffer(content, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


def _tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _unwrapped(value: Any, *_: Any) -> Any:
    return value


def _state_dict(module: Any) -> dict[str, Tensor]:
    """Parameters and buffers below a module, by dotted name."""
    found = {}
    for name, value in module.state.items():
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, _Module) and isinstance(value.state, dict):
            found |= {f"{name}.{inner}": tensor for inner, tensor in _state_dict(value).items()}
    return found

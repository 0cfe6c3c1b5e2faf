"""Configs by file, or by the name under which they travel with the package: ``diving48/loki_clip_b16_8f``."""

from functools import cache
from pathlib import Path

from videoadapt.errors import UserError, similar
from videoadapt.packaged import packaged

STUDIES = "studies"  # the folder of configs that compare others


@cache
def packaged_configs() -> dict[str, Path]:
    """The files of every packaged config and study by name, sorted."""
    folder = packaged("configs")
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.glob("*/*.yaml"))}


def find_config(name: str | Path) -> Path:
    """The file that a path or a packaged name means; a file comes before a packaged config of the same name."""
    if not str(name).strip():
        raise UserError("the name of the config is empty; name a YAML file or a packaged config")
    path, known = Path(name), packaged_configs()
    try:
        if path.exists() and not path.is_dir():  # also a pipe
            return path
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise UserError(f"{name}: cannot be looked up ({error.strerror})") from None
    plain = _plain(path)
    if plain in known:
        return known[plain]
    if path.is_dir() or any(other.startswith(f"{plain}/") for other in known):
        raise UserError(f"{name}: is a folder; name a config in it{_example(path, plain)}")
    close = f"{path}.yaml" if Path(f"{path}.yaml").is_file() else similar(plain, known)
    hint = f"did you mean '{close}'?" if close else "'videoadapt configs' lists the names"
    raise UserError(f"{name}: there is no such file, and no packaged config has this name; {hint}")


def _plain(path: Path) -> str:
    """The packaged name that a path into a clone's ``configs`` folder means."""
    text = path.with_suffix("").as_posix() if path.suffix in {".yaml", ".yml"} else path.as_posix()
    return text.removeprefix("configs/")


def _example(folder: Path, plain: str) -> str:
    inside = [other for other in packaged_configs() if other.startswith(f"{plain}/")]
    names = inside or [str(path) for path in sorted(folder.glob("*.yaml"))]
    return f", e.g. {names[0]}" if names else ""

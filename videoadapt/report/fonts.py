"""Fonts for names in any script: what is not in matplotlib's own is looked for on this machine."""

import logging
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import ImageFont, features

_OWN = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew and more
_BOXES = ("lastresort", "adobeblank", "emoji")  # fonts of boxes, of nothing, and of coloured bitmaps
_STYLES = ("bold", "italic", "oblique", "light", "thin", "black", "mono", "serif", "condensed")
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH")
_LACKS = {  # Debian's packages
    "fonts-noto-cjk": "this machine has no font for Chinese, Japanese or Korean",
    "fonts-noto-core": "this machine has no font for their script",
    "fonts-symbola": "this machine has no font for their symbols",
    "libfribidi0": "Pillow lacks what joins letters and writes from right to left",
}
log = logging.getLogger(__name__)


def font_runs(text: str) -> list[tuple[str, str]]:
    """Pieces of a text and the file of the font for each; of one font if there is one for all of it."""
    wanted = {char for char in text if _has_shape(char)}
    if whole := next((path for path in _files() if wanted <= _characters(path)), None):
        return [(whole, text)]
    runs: list[tuple[str, str]] = []
    for char in text:
        path = _font_of(char) if _has_shape(char) or not runs else runs[-1][0]
        if runs and path == runs[-1][0]:
            runs[-1] = path, runs[-1][1] + char
        else:
            runs.append((path or _files()[0], char))
    return runs


def drawable(text: str) -> str:
    """The text with ``?`` for what no font here can draw; which package can is said once."""
    lacking = undrawable(text)
    return "".join("?" if char in lacking else char for char in text)


def undrawable(text: str) -> set[str]:
    """The characters that would be drawn as boxes or as what they are not; which package helps is said once."""
    lacking = {char: package for char in text if _has_shape(char) and (package := _needed(char))}
    for package in dict.fromkeys(lacking.values()):
        _tell(package)
    return set(lacking)


def plain(text: str) -> str:
    """A text as matplotlib draws it, which takes what stands between dollars for a formula."""
    return drawable(text).replace("$", r"\$")


@contextmanager
def fonts_for(*texts: str) -> Iterator[None]:
    """Let matplotlib draw these texts, each character in the first font that has it."""
    import matplotlib

    files = dict.fromkeys(path for text in texts for path, _ in font_runs(text))
    families = [*matplotlib.rcParams["font.family"], *(_family(path) for path in files)]
    with matplotlib.rc_context({"font.family": list(dict.fromkeys(families))}):
        yield


@cache
def load_font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@cache
def _files() -> list[str]:
    """Matplotlib's own first, then the machine's, plain ones before bold and slanted ones."""
    from matplotlib.font_manager import findfont, findSystemFonts  # slow to import, and needed here alone

    def rank(path: str) -> tuple[bool, int, str]:
        name = Path(path).stem.lower()
        return not name.startswith("notosans"), sum(style in name for style in _STYLES), path

    found = [path for path in findSystemFonts() if not any(word in Path(path).stem.lower() for word in _BOXES)]
    return [findfont(_OWN), *sorted(found, key=rank)]


@cache
def _characters(path: str) -> frozenset[str]:
    """Those for which a font has a glyph; none if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        load_font(path, 16)
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@cache
def _font_of(char: str) -> str | None:
    return next((path for path in _files() if char in _characters(path)), None)


@cache
def _family(path: str) -> str:
    from matplotlib.font_manager import FontProperties, fontManager

    fontManager.addfont(path)
    return FontProperties(fname=path).get_name()


def _has_shape(char: str) -> bool:
    """Not what belongs to the character before it, or to none."""
    return unicodedata.category(char)[0] not in {"C", "M", "Z"}


@cache
def _needed(char: str) -> str | None:
    """The package without which a character cannot be drawn."""
    if unicodedata.bidirectional(char) in {"R", "AL"} and not features.check("raqm"):
        return "libfribidi0"  # Pillow's letters would neither join nor run from right to left
    if _font_of(char):
        return None
    if unicodedata.name(char, "").startswith(_EAST_ASIAN):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(char) == "So" else "fonts-noto-core"


@cache
def _tell(package: str) -> None:
    log.warning("pictures cannot hold every name: %s; on Debian and Ubuntu: apt install %s", _LACKS[package], package)

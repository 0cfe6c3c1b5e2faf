"""Names in any script: drawn with a font that has them, or not at all, and a line says what to install."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import features

from videoadapt.report import caption, fonts
from videoadapt.report.caption import captioned
from videoadapt.report.fonts import font_runs, undrawable
from videoadapt.report.timeline import draw_timeline
from videoadapt.workflows.answers import _caption
from videoadapt.workflows.prediction import Answer

CACHES = (fonts._files, fonts._font_of, fonts._needed, fonts._tell, caption._fitted)


def _font(path, characters):
    """A font in which each of these is a black square, and that has nothing else."""
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    for corner in ((50, 800), (950, 800), (950, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"glyph{number}" for number in range(len(characters)))]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(char): name for char, name in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def install(monkeypatch):
    """Let a machine have these fonts besides matplotlib's own, as far as they exist."""

    def installed(*paths):
        monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [str(path) for path in paths])
        for function in CACHES:
            function.cache_clear()

    installed()
    yield installed
    for function in CACHES:
        function.cache_clear()


NAMES = {  # and the package that this machine needs for them, having none but matplotlib's own fonts
    "跳水": "fonts-noto-cjk",
    "飛び込み": "fonts-noto-cjk",
    "カタカナ": "fonts-noto-cjk",
    "다이빙": "fonts-noto-cjk",
    "\uff21": "fonts-noto-cjk",  # a wide A
    "गोता": "fonts-noto-core",
    "ดำน้ำ": "fonts-noto-core",
    "🤸": "fonts-symbola",
    "Прыжок": None,
    "κατάδυση": None,
    "lặn ẞ": None,
    "e\u0301 \u200d": None,
}
RIGHT_TO_LEFT = ["قفز", "קפיצה"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_font_has_is_told_once(install, name, caplog):
    for _ in range(2):
        assert bool(undrawable(name)) == (NAMES[name] is not None)
        captioned(np.zeros((48, 64, 3), np.uint8), name)
    told = [message for message in caplog.messages if "apt install" in message]
    assert [message.split()[-1] for message in told] == ([NAMES[name]] if NAMES[name] else [])


@pytest.mark.parametrize("name", RIGHT_TO_LEFT)
@pytest.mark.parametrize("raqm", [True, False])
def test_letters_that_join_need_what_joins_them(install, name, raqm, monkeypatch):
    monkeypatch.setattr(features, "check", lambda feature: raqm)
    assert bool(undrawable(name)) == (not raqm)


def test_no_box_is_drawn_but_the_number_of_the_class(install):
    assert _caption(Answer(3, "跳水", 0.93)) == "class 3  93 %" and _caption(Answer(3, "dive", 0.93)) == "dive  93 %"
    frame = np.zeros((96, 200, 3), np.uint8)
    np.testing.assert_array_equal(captioned(frame, "跳 a"), captioned(frame, "? a"))


def test_a_font_of_this_machine_is_found_and_used(install, tmp_path, caplog):
    bold = _font(tmp_path / "NotoSansCJK-Bold.ttf", "跳水")
    plain = _font(tmp_path / "NotoSansCJK-Regular.ttf", "跳水")
    boxes = _font(tmp_path / "LastResort.ttf", "跳水क🤸")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    install(boxes, bold, tmp_path / "broken.ttf", tmp_path / "gone.ttf", plain)
    own = font_runs("jump")[0][0]
    assert Path(own).stem == "DejaVuSans"
    assert font_runs("跳水 93 %") == [(plain, "跳水 "), (own, "93 %")]
    assert font_runs("a跳b") == [(own, "a"), (plain, "跳"), (own, "b")]
    assert _caption(Answer(3, "跳水", 0.93)) == "跳水  93 %" and undrawable("跳क") == {"क"}
    shown = captioned(np.full((160, 320, 3), 90, np.uint8), "跳水")
    squares = (shown > 240).all(-1)
    assert squares.sum() == pytest.approx(2 * 9 * 8, abs=20) and not squares[:140].any()
    assert [message for message in caplog.messages if "fonts-noto-cjk" in message] == []


def test_a_timeline_draws_them_too(install, tmp_path):
    seconds, shares = np.array([[0.0, 1.0], [1.0, 2.0]]), np.array([[0.2, 0.8], [0.6, 0.4]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a glyph that matplotlib misses
        draw_timeline(tmp_path / "without.png", seconds, shares, ["跳水", "$jump$"], "跳.mp4")
        install(_font(tmp_path / "Any.ttf", "跳水"))
        draw_timeline(tmp_path / "with.png", seconds, shares, ["跳水", "$jump$"], "跳.mp4")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()

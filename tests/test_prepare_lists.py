"""The programs that come before training: lists, and a look at every video."""

import csv
import json
import os
import time
from itertools import islice
from pathlib import Path

import pytest
from conftest import encode, numbered_frames
from PIL import Image

from videoadapt.data.annotations import pictures
from videoadapt.data.lists import read_classes, read_list
from videoadapt.video import inspection

VTAB = [(name, folders[0]) for name, folders in pictures.VTAB.items()]
NAMES = ["-mmq0PT #1", "b, c", "x"]


@pytest.fixture
def diving(tmp_path):
    """Diving48 with one video of three missing."""
    notes, videos = tmp_path / "annotations", tmp_path / "videos"
    notes.mkdir()
    (videos / "rgb").mkdir(parents=True)
    entries = [{"vid_name": name, "label": label} for label, name in enumerate(NAMES)]
    (notes / "Diving48_vocab.json").write_text(json.dumps([["a", "b"], ["c"], ["d, e"]]))
    (notes / "Diving48_V2_train.json").write_text(json.dumps(entries[:2]))
    (notes / "Diving48_V2_test.json").write_text(json.dumps(entries[2:] + entries[:1]))
    for name in NAMES[:2]:
        encode(videos / "rgb" / f"{name}.mp4", numbered_frames(12), "libx264", preset="ultrafast")
    return notes, videos, tmp_path / "lists"


def _prepare(tool, diving, *more):
    notes, videos, out = diving
    return tool("lists", "diving48", "--annotations", notes, "--videos", videos, "--out", out, *more)


def test_missing_videos_are_named_and_nothing_else_is_written(tool, diving):
    code, out, err = _prepare(tool, diving)
    assert code == 2 and err.startswith("error: missing files: 1, first x.mp4; ") and "missing.csv" in err
    assert "| test  |      2 |     1 |       1 |" in out
    assert [path.name for path in diving[2].iterdir()] == ["missing.csv"]
    assert (diving[2] / "missing.csv").read_text() == "split,path,label\ntest,x.mp4,2\n"


def test_lists_without_the_missing_ones_on_request(tool, diving):
    code, out, _ = _prepare(tool, diving, "--allow-missing")
    lists = diving[2]
    assert code == 0 and "train.csv, test.csv and classes.txt (3 classes)" in out
    assert sorted(path.name for path in lists.iterdir()) == ["classes.txt", "missing.csv", "test.csv", "train.csv"]
    assert list(read_list(lists / "train.csv", 3)) == [("rgb/-mmq0PT #1.mp4", 0), ("rgb/b, c.mp4", 1)]
    assert list(read_list(lists / "test.csv", 3)) == [("rgb/-mmq0PT #1.mp4", 0)]
    assert read_classes(lists / "classes.txt", 3) == ["a+b", "c", "d, e"]


def test_a_complete_set_leaves_no_list_of_missing_ones(tool, diving):
    _prepare(tool, diving)
    encode(diving[1] / "x.mp4", numbered_frames(4), "libx264", preset="ultrafast")
    code, *_ = _prepare(tool, diving)
    assert code == 0 and not (diving[2] / "missing.csv").exists()
    assert read_list(diving[2] / "test.csv", 3)[0] == ("x.mp4", 2)


def test_a_family_writes_a_folder_for_each_set(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _, folder in VTAB:
        (tmp_path / "vtab-1k" / folder / "images").mkdir(parents=True)
        (tmp_path / "vtab-1k" / folder / "images/0.jpg").write_text("")
        for split in ("train800", "val200", "train800val200", "test"):
            (tmp_path / "vtab-1k" / folder / f"{split}.txt").write_text("images/0.jpg 1\n")
    code, _, err = tool("lists", "vtab", "--annotations", "vtab-1k")
    assert code == 0, err
    for name, folder in VTAB:
        lists = tmp_path / "data_lists" / "vtab" / name
        assert list(read_list(lists / "train800val200.csv")) == [(f"{folder}/images/0.jpg", 1)]
        assert {path.stem for path in lists.iterdir()} == {"train800", "val200", "train800val200", "test", "classes"}


def test_a_family_goes_on_without_the_sets_that_are_not_there(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vtab-1k/dtd/images").mkdir(parents=True)
    (tmp_path / "vtab-1k/dtd/images/0.jpg").write_text("")
    for split in ("train800val200", "test"):
        (tmp_path / f"vtab-1k/dtd/{split}.txt").write_text("images/0.jpg 1\n")
    code, _, err = tool("lists", "vtab", "--annotations", "vtab-1k")
    assert code == 2 and "vtab/kitti: vtab-1k: holds no folder kitti" in err and "vtab/dtd" not in err
    assert (tmp_path / "data_lists/vtab/dtd/test.csv").is_file()


def test_a_split_that_is_wholly_absent_does_not_stop_the_others(tool, diving):
    (diving[0] / "Diving48_V2_test.json").write_text(json.dumps([{"vid_name": "x", "label": 2}]))
    code, out, _ = _prepare(tool, diving, "--allow-missing")
    assert code == 0 and "test: none of its files is there, no list is written" in out
    assert "data.root is" in out and not (diving[2] / "test.csv").exists() and (diving[2] / "train.csv").exists()


def test_names_that_lists_can_hardly_hold(tool, tmp_path):
    names = [" lead ing/\u2028 line.mp4", " lead ing/\x0b.mp4", 'b"q", c/,.mp4']
    for name in names:
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).write_text("")
    arguments = ["folder", "--videos", tmp_path / "videos", "--out", tmp_path / "lists", "--val-share", "0.1"]
    code, _, err = tool("lists", *arguments)
    assert code == 0, err
    read = [record.path for split in ("train", "val") for record in read_list(tmp_path / f"lists/{split}.csv")]
    assert sorted(read) == sorted(names)
    Path(os.fsdecode(os.fsencode(tmp_path / "videos" / "c") + b"\xe9")).mkdir()
    (next((tmp_path / "videos").glob("c*")) / "x.mp4").write_text("")
    code, _, err = tool("lists", *arguments)
    assert code == 2 and "is not UTF-8; rename the file" in err and err.count("\n") == 1


def test_files_elsewhere_are_listed_whole_and_the_summary_says_which_key_allows_that(tool, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "elsewhere.mp4").write_text("")
    (tmp_path / "train.csv").write_text(f"{tmp_path}/elsewhere.mp4 0\n")
    arguments = ["--annotations", tmp_path / "train.csv", "--videos", tmp_path / "videos", "--out", tmp_path / "lists"]
    code, out, err = tool("lists", "list", *arguments)
    assert code == 0, err
    assert out.endswith(f"data.root is {tmp_path / 'videos'}, data.absolute_paths is true\n")
    assert list(read_list(tmp_path / "lists" / "train.csv")) == [(f"{tmp_path}/elsewhere.mp4", 0)]


PREPARE_ERRORS = [
    (["diving"], "DATASET 'diving': did you mean 'diving48'?"),
    (["diving48"], "--annotations DIR and --videos DIR say where the data set is"),
    (["diving48", "--annotations", "nowhere"], "--annotations: nowhere is no folder"),
    (["diving48", "--annotations", ".", "--videos", "nowhere"], "--videos: nowhere is no folder"),
    (["folder", "--videos", "nowhere"], "--videos: nowhere is no folder"),
    (["diving48", "--annotations", "."], "holds no Diving48_vocab.json"),
    (["vtab", "--annotations", ".", "--out", "x"], "--out: vtab is 19 data sets; name one, e.g. vtab/cifar100"),
    (["folder", "--videos", ".", "--val-share", "1"], "--val-share: 1 is not between 0 and 1"),
    (["diving48", "--annotations", ".", "--out", "."], "--out: . holds the annotations; name another folder"),
    (["k400", "--download", "--videos", "."], "--download: k400 is not one of torchvision's sets"),
]


@pytest.mark.parametrize(("arguments", "message"), PREPARE_ERRORS)
def test_a_wrong_call_of_prepare_lists_is_one_line(tool, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = tool("lists", *arguments)
    assert code == 2 and message in err and err.count("\n") == 1
    assert not list(tmp_path.rglob("*.csv"))


# --- check_videos


@pytest.fixture
def checked(tmp_path):
    """A list of videos with something the matter."""
    frames = numbered_frames(30)
    encode(tmp_path / "good.mp4", frames, "libx264", preset="ultrafast")
    encode(tmp_path / "short #1.mp4", frames[:3], "libx264", preset="ultrafast")
    encode(
        tmp_path / "odd.webm", numbered_frames(12, 49, 67), "libvpx-vp9", **{"cpu-used": "8", "deadline": "realtime"}
    )
    (tmp_path / "text.mp4").write_text("no video")
    encode(tmp_path / "torn.ts", frames, "mpeg2video", gop=30, qscale="2")
    content = bytearray((tmp_path / "torn.ts").read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    (tmp_path / "torn.ts").write_bytes(content)
    names = ["good.mp4", "short #1.mp4", "odd.webm", "text.mp4", "gone.mp4", "torn.ts"]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{name},0\n" for name in names))
    return tmp_path


def _report(path):
    with path.open(newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_every_kind_of_trouble_is_reported(tool, checked, decoder):
    code, out, _ = tool("check", checked / "list.csv", "--root", checked, "--decoder", decoder)
    rows = _report(checked / "list.csv.report.csv")
    assert code == 1 and "good.mp4" not in rows
    assert {name: row["status"] for name, row in rows.items()} == {
        "short #1.mp4": "short",
        "odd.webm": "odd",
        "text.mp4": "unreadable",
        "gone.mp4": "missing",
        "torn.ts": "damaged",
    }
    assert "not a readable video" in rows["text.mp4"]["detail"] and "odd size 67x49" in rows["odd.webm"]["detail"]
    assert rows["odd.webm"]["frames"] == "12" and rows["odd.webm"]["width"] == "67"
    assert "| ok " in out and "| damaged " in out


def test_nothing_the_matter_is_exit_code_0(tool, checked):
    (checked / "list.csv").write_text("path,label\ngood.mp4,0\n")
    code, *_ = tool("check", checked / "list.csv", "--root", checked, "--all", "--whole")
    assert code == 0
    assert _report(checked / "list.csv.report.csv")["good.mp4"]["status"] == "ok"


def test_pictures_and_awkward_names_are_looked_at_too(tool, checked):
    Image.new("RGB", (8, 8)).save(checked / "a.png")
    names = ["a.png", "x" * 300 + ".mp4", "bad.jpg", "nothing.mp4"]
    (checked / "bad.jpg").write_text("no picture")
    (checked / "nothing.mp4").write_text("")
    (checked / "list.csv").write_text("path,label\n" + "".join(f"{name},0\n" for name in names))
    code, *_ = tool("check", checked / "list.csv", "--root", checked, "--all")
    rows = _report(checked / "list.csv.report.csv")
    assert code == 1 and [rows[name]["status"] for name in names] == ["ok", "unreadable", "unreadable", "empty"]


def test_an_interrupt_leaves_a_report_of_what_was_found(tool, checked, monkeypatch):
    def interrupted(findings, **_):
        yield from islice(findings, 2)
        raise KeyboardInterrupt

    monkeypatch.setattr("tqdm.tqdm", interrupted)
    code, *_ = tool("check", checked / "list.csv", "--root", checked)
    assert code == 130 and list(_report(checked / "list.csv.report.csv")) == ["short #1.mp4"]


@pytest.mark.parametrize(("harm", "status"), [("hang", "hung"), ("die", "crashed")])
def test_a_decoder_that_hangs_or_dies_costs_one_file(tool, checked, monkeypatch, harm, status):
    plain = inspection.open_video

    def harmed(path, *options):
        if path.name == "odd.webm":
            time.sleep(60) if harm == "hang" else os._exit(7)
        return plain(path, *options)

    monkeypatch.setattr(inspection, "open_video", harmed)
    code, *_ = tool("check", checked / "list.csv", "--root", checked, "--seconds", "2")
    rows = _report(checked / "list.csv.report.csv")
    assert code == 1 and rows["odd.webm"]["status"] == status and rows["torn.ts"]["status"] == "damaged"


CHECK_ERRORS = [
    (["nowhere.csv"], "nowhere.csv: cannot read the list file"),
    (["list.csv", "--seconds", "0"], "--seconds: 0 is too small"),
    (["list.csv", "--root", "nowhere"], "--root: nowhere is no folder"),
    (["list.csv", "--min-frames", "-1"], "--min-frames: -1 is too small"),
    (["list.csv", "--report", "list.csv"], "--report: list.csv is a folder or the list itself"),
    (["list.csv", "--report", "."], "--report: . is a folder or the list itself"),
    (["outside.csv"], "'../x.mp4' leads out of --root '.'; --absolute-paths allows that"),
    (["list.csv", "--decoder", "cv2"], "invalid choice: 'cv2'"),
    (["list.csv", "--report", "good.mp4/x.csv"], "--report: cannot write into"),
]


@pytest.mark.parametrize(("arguments", "message"), CHECK_ERRORS)
def test_a_wrong_call_of_check_videos_is_one_line(tool, checked, monkeypatch, arguments, message):
    monkeypatch.chdir(checked)
    (checked / "outside.csv").write_text("../x.mp4 1\n")
    code, _, err = tool("check", *arguments)
    assert code == 2 and message in err and err.count("\n") == 1

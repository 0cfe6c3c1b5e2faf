"""Lists in forms that are not read, and lists that would make a number a lie: each has its own line."""

import shutil

import pytest
from conftest import bad_list, encode, numbered_frames
from PIL import Image

import videoadapt
from videoadapt.data.faults import doubts
from videoadapt.data.lists import Record
from videoadapt.errors import UserError
from videoadapt.models.backbone import MINI

FORMS = {  # of data.train, and how the message ends
    "class name": (
        "a/b.mp4,jump high\n",
        "'jump high' is a name; write its number, counted from 0, and the names into",
    ),
    "class name after a tab": ("a.mp4\tjump\n", "'jump' is a name; write its number"),
    "semicolon": ("a.mp4;3\n", "the separator is a comma or a space; write 'a.mp4,label'"),
    "Kinetics": ("label,youtube_id,time_start,time_end,split\n", "'videoadapt lists k400' makes lists of them"),
    "header": (
        "video,label\na.mp4,0\n",
        "looks like the header of another form of list; write path,label, or no header",
    ),
    "more columns": ("path,label,fold\na.mp4,0,1\n", "looks like the header of another form of list"),
    "several labels as CSV": ("path,label\na.mp4,1;2\n", "several labels for one video are not read; write path,label"),
    "float": ("a.mp4,1.0\n", "a label is an integer; write 1, not 1.0"),
    "no label": ("a.mp4\n", "no integer label at the end of 'a.mp4'; write path,label"),
    "from 1": ("a.mp4 3\n", "label 3 of 'a.mp4' is out of range; data.num_classes is 3, and labels start at 0"),
    "several labels": (
        "a.mp4 2 0 1\n",
        "first: a.mp4 2 0; the paths are relative to data.root; '2 0' before the label:",
    ),
    "raw frames": ("dir/a 120 1\n", "'120' before the label: folders of frames are not read; make videos of them"),
    "one class": ("-clip #0.mp4 0\n-clip #3.mp4 0\n", "label 0 alone: nothing to tell apart; a training needs two"),
}


@pytest.mark.parametrize("name", FORMS)
def test_another_form_of_list_is_named(name, config, tool, tmp_path):
    text, message = FORMS[name]
    code, _, err = tool("train", config, f"data.train={bad_list(tmp_path, text)}", "optim.batch_size=1")
    assert code == 2 and err.count("\n") == 1 and message in err


def _records(*pairs):
    return [Record(path, label) for path, label in pairs]


GOOD = ("v", _records(("x", 0), ("y", 1)))
DOUBTS = {  # training list, validation list, class names
    "nothing": (("t", _records(("a", 0), ("b", 1))), GOOD, ["no", "yes"], []),
    "the same list": (
        GOOD,
        GOOD,
        ["no", "yes"],
        ["v is trained on and validated on: the validation accuracy is that of videos learnt by heart"],
    ),
    "overlap": (
        ("t", _records(("a", 0), ("y", 1))),
        GOOD,
        ["no", "yes"],
        ["1 of the 2 files of v are in t too, first y: the validation accuracy is that of videos learnt by heart"],
    ),
    "duplicates": (
        ("t", _records(("a", 0), ("b", 1), ("a", 0))),
        GOOD,
        ["no", "yes"],
        ["t: more than once in the list: a"],
    ),
    "two labels": (
        ("t", _records(("a", 0), ("b", 1), ("a", 1))),
        GOOD,
        ["no", "yes"],
        ["t: two labels for a (0 and 1)"],
    ),
    "absent classes": (
        ("t", _records(*((str(label), label) for label in range(8)))),
        ("v", _records(("x", 0))),
        list("ABCDEFGH"),
        ["v: no video of class 'B', 'C', 'D', 'E', 'F' and 2 more"],
    ),
    "one name twice": (("t", _records(("a", 0), ("b", 1))), GOOD, ["no", "no"], ["two classes are called 'no'"]),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_what_makes_an_accuracy_worth_less_is_told(name):
    train, val, classes, messages = DOUBTS[name]
    assert doubts(train, val, classes) == messages


def test_a_training_tells_of_its_lists_and_of_random_weights(config, tool, video_set, caplog):
    again = [f"data.train={video_set / 'val.csv'}", "model.pretrained=none", "optim.epochs=1"]
    assert tool("train", config, *again)[0] == 0
    assert "is trained on and validated on" in caplog.text and "gives the frozen backbone random weights" in caplog.text


@pytest.fixture
def video(tmp_path):
    return encode(tmp_path / "a.mp4", numbered_frames(4), "libx264")


def _set(tmp_path, video, **counts):
    for name, count in counts.items():
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(count):
            shutil.copy(video, tmp_path / "set" / name / f"{name}{number}.mp4")
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"a": 4}, "'a' is the only folder with videos or pictures; two classes are needed"),
        ({"a": 1, "b": 1}, "no videos for val: each class has a single one, two are needed: to train and to validate"),
    ],
)
def test_too_few_videos_of_a_class_are_named(counts, message, video, tmp_path):
    with pytest.raises(UserError, match=message):
        videoadapt.adapt(_set(tmp_path, video, **counts), out_dir=tmp_path / "run", backbone=MINI, epochs=1)
    assert not (tmp_path / "run").exists()


def test_a_class_of_one_file_is_told(video, tmp_path, tool):
    root = _set(tmp_path, video, a=5, b=1)
    code, out, _ = tool("lists", "folder", "--videos", root, "--out", tmp_path / "lists")
    assert code == 0 and "a single file, and so none in val: 'b'\n" in out


@pytest.mark.parametrize("split", ["", "train"])
def test_frames_of_videos_are_not_taken_for_pictures(split, tmp_path, tool):
    for name in ("a/v1", "a/v2", "b/v1"):
        folder = tmp_path / "set" / split / name
        folder.mkdir(parents=True)
        for number in (1, 2, 4):  # one is lost
            Image.new("RGB", (8, 8)).save(folder / f"img_{number:05d}.jpg")
    code, _, err = tool("lists", "folder", "--videos", tmp_path / "set", "--out", tmp_path / "lists")
    first = "/".join(filter(None, [split, "a/v1"]))
    assert code == 2 and err.count("\n") == 1 and not (tmp_path / "lists").exists()
    assert f"3 folders of numbered pictures inside classes, first '{first}'; frames of videos are not read" in err
    with pytest.raises(UserError, match="make videos of them; if they are single pictures, put them into the class"):
        videoadapt.adapt(tmp_path / "set", out_dir=tmp_path / "run", backbone=MINI)


def test_pictures_in_folders_of_a_class_stay_pictures(tmp_path, tool):
    for name in ("a/patient1/left", "a/patient1/right", "b/3", "b/90"):
        path = tmp_path / "set" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    assert tool("lists", "folder", "--videos", tmp_path / "set", "--out", tmp_path / "lists")[0] == 0

"""Class names: those of well-known data sets travel with the package, and nothing contradicts them unnoticed."""

import json

import pytest
from conftest import TOOLS, tiny

from videoadapt.builders import build_model, class_names
from videoadapt.builders.checkpoint import check_checkpoint
from videoadapt.config import load_config, make_config
from videoadapt.data.annotations import CONVERTERS
from videoadapt.data.lists import read_names
from videoadapt.errors import UserError
from videoadapt.packaged import DATASETS, class_file

COUNTS = {"diving48": 48, "hmdb51": 51, "k400": 400, "ssv2": 174, "ucf101": 101}


def _config(dataset="hmdb51", count=51, **data):
    return make_config({"data": {"dataset": dataset, "num_classes": count, **data}}, [], "test")


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_packaged_names_are_whole_and_in_label_order(dataset):
    names = read_names(class_file(dataset))
    assert len(names) == len(set(names)) == COUNTS[dataset] and all(name == name.strip() for name in names)
    assert dataset == "ucf101" or names == sorted(names)  # as the authors number them
    assert class_names(_config(dataset, COUNTS[dataset]).data) == names
    assert (TOOLS.parent / "data_lists" / dataset / "classes.txt").samefile(class_file(dataset))
    readme = (TOOLS.parent / "data_lists" / "README.md").read_text()
    assert f"| `{dataset}` | {COUNTS[dataset]} |" in readme


def test_labels_that_others_print_have_these_names():
    """SSv2's pairs of left and right, UCF101's one place out of the alphabet, corners of the others."""
    ssv2, ucf101, k400, diving = (read_names(class_file(name)) for name in ("ssv2", "ucf101", "k400", "diving48"))
    for left, right in ((86, 87), (93, 94), (166, 167)):
        swapped = ssv2[left].replace("left", "x").replace("right", "left").replace("x", "right")
        assert swapped == ssv2[right] != ssv2[left]
    assert ucf101[34:36] == ["Hammering", "HammerThrow"] and ucf101[100] == "YoYo"
    assert k400[0] == "abseiling" and k400[399] == "zumba"
    assert diving[0] == "Back+15som+05Twis+FREE" and diving[47] == "Reverse+Dive+NoTwis+TUCK"


def test_a_name_that_no_checkpoint_could_hold_is_refused(tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\tc\n")
    with pytest.raises(UserError, match=r"names.txt:2: a class name holds a tab"):
        class_names(_config("mine", 2, classes=str(tmp_path / "names.txt")).data)


def test_other_data_sets_have_numbers_and_own_files_come_first(tmp_path):
    assert class_names(_config("mine", 3).data) == ["0", "1", "2"]
    assert class_names(_config("hmdb51", 3).data) == ["0", "1", "2"]  # a part of it, numbered who knows how
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    assert class_names(_config("hmdb51", 3, classes=str(tmp_path / "names.txt")).data) == ["a", "b", "c"]


def test_packaged_configs_find_their_names_in_any_folder(tmp_path, monkeypatch):
    """What they say of a clone's folder means the packaged file, unless a file is there."""
    monkeypatch.chdir(tmp_path)
    data = load_config("hmdb51/loki_clip_b16_32f").data
    assert data.classes == "data_lists/hmdb51/classes.txt"
    assert class_names(data) == read_names(class_file("hmdb51"))
    (tmp_path / "data_lists" / "hmdb51").mkdir(parents=True)
    (tmp_path / data.classes).write_text("\n".join(f"own {label}" for label in range(51)))
    assert class_names(data)[50] == "own 50"
    with pytest.raises(UserError, match="data_lists/mine/classes.txt: cannot read the class names"):
        class_names(data.model_copy(update={"classes": "data_lists/mine/classes.txt"}))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_names_beside_the_list_that_contradict_are_an_error(tmp_path, split):
    names = read_names(class_file("hmdb51"))
    (tmp_path / "classes.txt").write_text("\n".join(names))
    config = _config(**{split: str(tmp_path / "list.csv")})
    assert class_names(config.data) == names
    names[3:5] = names[4], names[3]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    with pytest.raises(UserError) as caught:
        class_names(config.data)
    assert str(caught.value).startswith(f"{tmp_path / 'classes.txt'}: class 3 is 'clap', in {class_file('hmdb51')}, ")
    assert f"it is 'chew'; if the lists are numbered by the first, set data.classes={tmp_path}" in str(caught.value)
    chosen = {split: str(tmp_path / "list.csv"), "classes": str(tmp_path / "classes.txt")}
    assert class_names(_config(**chosen).data) == names
    (tmp_path / "classes.txt").write_text("\n".join(names[:2]))
    with pytest.raises(UserError, match=r"class 2 is missing, in .* it is 'catch'"):
        class_names(config.data)
    (tmp_path / "classes.txt").write_text("\n".join([*read_names(class_file("hmdb51")), "extra"]))
    with pytest.raises(UserError, match=r"class 51 is 'extra', in .* it is missing"):
        class_names(_config(train="elsewhere/list.csv", **{"val": str(tmp_path / "list.csv")}).data)
    assert class_names(_config(train=".").data)[0] == "brush_hair"
    assert class_names(_config("HMDB51").data)[0] == "brush_hair"


def _diving(folder, names):
    notes = folder / "annotations"
    notes.mkdir()
    (notes / "Diving48_vocab.json").write_text(json.dumps([name.split("+") for name in names]))
    for split in ("train", "test"):
        (notes / f"Diving48_V2_{split}.json").write_text(json.dumps([{"vid_name": f"{split}_1", "label": 1}]))
        (folder / "videos").mkdir(exist_ok=True)
        (folder / "videos" / f"{split}_1.mp4").write_text("")
    return ["lists", "diving48", "--annotations", notes, "--videos", folder / "videos"]


def test_the_authors_labels_that_agree_make_lists(tool, tmp_path):
    names = read_names(class_file("diving48"))
    code, out, err = tool(*_diving(tmp_path, names), "--out", tmp_path / "lists")
    assert code == 0 and "classes.txt (48 classes)" in out, err
    assert read_names(tmp_path / "lists" / "classes.txt") == names


@pytest.mark.parametrize(
    ("change", "theirs"), [("swapped", "Back+15som+15Twis+FREE"), ("renamed", "back+15som+05Twis+FREE")]
)
def test_the_authors_labels_that_disagree_are_an_error_that_names_both(tool, tmp_path, change, theirs):
    names = read_names(class_file("diving48"))
    if change == "swapped":
        names[:2] = names[1], names[0]
    else:
        names[0] = theirs
    code, _, err = tool(*_diving(tmp_path, names), "--out", tmp_path / "lists")
    assert code == 2 and err.count("\n") == 1
    assert f"{tmp_path / 'annotations'}: its class 0 is '{theirs}'" in err
    assert f"in {class_file('diving48')} it is 'Back+15som+05Twis+FREE'" in err
    assert not list((tmp_path / "lists").glob("*"))


def test_a_part_of_a_data_set_is_told_apart(tool, tmp_path):
    names = read_names(class_file("diving48"))[:5]
    command = _diving(tmp_path, names)
    code, out, _ = tool(*command, "--out", tmp_path / "lists")
    assert code == 0 and "diving48 has 48 classes, these annotations 5: set data.num_classes and data.classes" in out
    code, _, err = tool(*command, "--out", class_file("diving48").parent)
    assert code == 2 and "has 5 classes" in err and "name another folder" in err
    assert len(read_names(class_file("diving48"))) == 48


def test_every_known_data_set_of_lists_is_compared():
    assert set(DATASETS) - {"ucf101"} <= set(CONVERTERS)


def _about(names):
    section = tiny(num_classes=51)
    config = {"model": section.model_dump(), "data": {"num_classes": 51, "dataset": "hmdb51"}}
    return {"config": config, "classes": names, "fingerprint": build_model(section, "meta").fingerprint or "x"}


def test_a_checkpoint_of_other_names_is_refused_and_one_with_numbers_taken():
    config = make_config({**_about([])["config"]}, [], "test")
    names = read_names(class_file("hmdb51"))
    check_checkpoint(config, _about(names), "c")
    check_checkpoint(config, _about([str(label) for label in range(51)]), "c")  # of before there were names
    with pytest.raises(UserError, match="c: its class 0 is 'wave', in .*classes.txt it is 'brush_hair'"):
        check_checkpoint(config, _about([*reversed(names)]), "c")

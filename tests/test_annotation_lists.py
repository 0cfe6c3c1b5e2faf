"""Class folders, lists of other toolkits, VTAB-1k and few-shot sets, to lists that are written out here."""

import pytest
from conftest import convert

from videoadapt.data.annotations import CONVERTERS, divide, locate
from videoadapt.data.annotations.common import Annotations
from videoadapt.data.lists import Record
from videoadapt.errors import UserError


def test_class_folders_with_splits(folders):
    videos = ["train/b c/2.mp4", "train/a_b/#1.avi", "validation/a_b/x.webm", "train/a_b/notes.txt", "train/.DS_Store"]
    found, _, notes = convert("folder", folders, {}, videos)
    assert notes.classes == ["a_b", "b c"]
    assert found == {"train": [("train/a_b/#1.avi", 0), ("train/b c/2.mp4", 1)], "val": [("validation/a_b/x.webm", 0)]}


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        (["train/ice/1.mp4", "bus/2.mp4", "car/3.mp4"], "'train' looks like a split, 'bus' like a class"),
        (["val/a/1.mp4", "validation/a/2.mp4"], "val, validation are not different splits; keep one of each"),
    ],
)
def test_folders_that_may_be_splits_or_classes_are_not_guessed_at(folders, videos, message):
    with pytest.raises(UserError, match=message):
        convert("folder", folders, {}, videos)


def test_class_folders_by_other_names_and_behind_links(folders):
    notes, root, put = folders
    put(root, {"training/a/1.mp4": "", "valid/a/2.mp4": "", "testing/a/3.MP4": "", "training/a/._1.mp4": ""})
    put(notes, {"far/4.mp4": ""})
    (root / "training" / "b").symlink_to(notes / "far")
    found, _, annotations = convert("folder", folders, {})
    assert {name: len(records) for name, records in found.items()} == {"train": 2, "val": 1, "test": 1}
    assert annotations.classes == ["a", "b"]


def test_class_folders_without_splits_are_divided_the_same_way_every_time(folders):
    _, root, put = folders
    put(root, {f"{name}/{number}.mp4": "" for name in "ab" for number in range(10)})
    whole = CONVERTERS["folder"](root, root)
    parts = divide(whole, 0.2, seed=0).splits
    assert {name: len(records) for name, records in parts.items()} == {"train": 16, "val": 4}
    assert sorted(record.label for record in parts["val"]) == [0, 0, 1, 1]
    assert not set(parts["train"]) & set(parts["val"])
    assert divide(whole, 0.2, seed=0).splits == parts != divide(whole, 0.2, seed=1).splits


def test_a_class_of_one_stays_in_training():
    lonely = divide(Annotations({"all": [Record("a", 0), Record("b", 1), Record("c", 1)]}, ["x", "y"]), 0.5, seed=0)
    assert [record.label for record in lonely.splits["train"]] == [0, 1]


LISTS = {
    "mmaction2": {
        "kinetics400_train_list_videos.txt": "air_drumming/x_000017_000027.mp4 1\nabseiling/y_000001_000011.mp4 0\n",
        "kinetics400_val_list_videos.txt": "abseiling/z_000001_000011.mp4 0\n",
        "kinetics400_train_list_rawframes.txt": "air_drumming/x_000017_000027 300 1\n",
        "label_map_k400.txt": "abseiling\nair drumming\n",
    },
    "VideoMAE on another machine": {
        "train.csv": "/data/k400/air_drumming/x_000017_000027.mp4  1\n/data/k400/abseiling/y_000001_000011.mp4  0\n",
        "val.csv": "/data/k400/abseiling/z_000001_000011.mp4  0\n",
        "classes.txt": "abseiling\nair drumming\n",
    },
    "TimeSformer, no folder and no suffix": {
        "train.csv": "x_000017_000027 1\ny_000001_000011 0\n",
        "val.csv": "z_000001_000011 0\n",
        "classes.txt": "abseiling\nair drumming\n",
    },
    "UniFormer, with the number of frames": {
        "rgb_train_split.txt": "x_000017_000027 300 1\ny_000001_000011 250 0\n",
        "rgb_val_split.txt": "z_000001_000011 77 0\n",
        "classes.txt": "abseiling\nair drumming\n",
    },
}


@pytest.mark.parametrize("form", LISTS)
def test_lists_of_other_toolkits(folders, form):
    videos = [
        "v/air_drumming/x_000017_000027.mp4",
        "v/abseiling/y_000001_000011.mp4",
        "v/abseiling/z_000001_000011.mp4",
    ]
    found, missing, notes = convert("list", folders, LISTS[form], videos)
    assert found == {"train": [(videos[0], 1), (videos[1], 0)], "val": [(videos[2], 0)]} and not missing
    assert notes.classes == ["abseiling", "air drumming"]


@pytest.mark.parametrize(("name", "split"), [("sthv2_val_list_videos.txt", "val"), ("mine.csv", "mine")])
def test_a_single_list(folders, name, split):
    notes, root, put = folders
    put(notes, {name: "1.mp4 0\n", "train.txt": "2.mp4 0\n"})
    put(root, {"1.mp4": ""})
    splits, _ = locate(CONVERTERS["list"](notes / name, root), root)
    assert {key: part.found for key, part in splits.items()} == {split: [("1.mp4", 0)]}


def test_names_without_a_class_list_are_the_folders_or_the_numbers(folders):
    _, _, notes = convert("list", folders, {"train_list.txt": "a/1.mp4 0\nb/2.mp4 1\n", "val_list.txt": "a/3.mp4 0\n"})
    assert notes.classes == ["a", "b"]
    _, _, notes = convert("list", folders, {"train_list.txt": "1.mp4 0\n2.mp4 2\n", "val_list.txt": "3.mp4 0\n"})
    assert notes.classes == ["0", "1", "2"]


def test_hmdb_lists_keep_their_split_number(folders):
    names = [f"hmdb51_{part}_split_{number}_videos.txt" for part in ("train", "val") for number in (1, 2)]
    found, _, _ = convert("list", folders, dict.fromkeys(names, "a/1.avi 0\n"), ["a/1.avi"])
    assert sorted(found) == ["train_split1", "train_split2", "val_split1", "val_split2"]


def test_vtab(folders):
    lists = {
        "oxford_iiit_pet/train800.txt": "images/train800/000000.jpg 30\n",
        "oxford_iiit_pet/val200.txt": "images/val200/000000.jpg 2\n",
        "oxford_iiit_pet/train800val200.txt": "images/train800val200/000000.jpg 30\n",
        "oxford_iiit_pet/test.txt": "images/test/000000.jpg 36\n",
    }
    videos = [
        f"oxford_iiit_pet/images/{split}/000000.jpg" for split in ("train800", "val200", "train800val200", "test")
    ]
    found, missing, notes = convert("vtab/pets", folders, lists, videos)
    assert found["train800val200"] == [(videos[2], 30)] and found["test"] == [(videos[3], 36)] and not missing
    assert len(notes.classes) == 37


def test_fewshot_repeats_what_its_lists_repeat(folders):
    part = "oxford-pets/annotations"
    lists = {
        f"{part}/train_meta.list.num_shot_1.seed_0": "Abyssinian_185.jpg 0\nAbyssinian_185.jpg 0\n",
        f"{part}/train_meta.list.num_shot_16.seed_2": "Abyssinian_185.jpg 0\npug_7.jpg 1\n",
        f"{part}/val_meta.list": "pug_8.jpg 1\n",
        f"{part}/test_meta.list": "pug_9.jpg 1\n",
    }
    videos = [f"images/{name}.jpg" for name in ("Abyssinian_185", "pug_7", "pug_8", "pug_9")]
    found, missing, _ = convert("fewshot/pets", folders, lists, videos)
    assert found["train_1shot_seed0"] == [(videos[0], 0)] * 2 and found["test"] == [(videos[3], 1)] and not missing
    assert list(found) == ["train_1shot_seed0", "train_16shot_seed2", "val", "test"]

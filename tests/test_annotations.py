"""The authors' own formats, nasty names included, to lists that are written out here."""

import json

import pytest

from videoadapt.data.annotations import ALIASES, CONVERTERS, divide, locate
from videoadapt.data.annotations.common import Annotations
from videoadapt.data.lists import Record
from videoadapt.errors import UserError


@pytest.fixture
def folders(tmp_path):
    """``write(files)`` puts texts into ``annotations``, ``touch(names)`` empty files into ``videos``."""
    notes, videos = tmp_path / "annotations", tmp_path / "my videos"
    notes.mkdir()
    videos.mkdir()

    def put(root, files):
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")

    return notes, videos, put


def convert(dataset, folders, annotations, videos=()):
    """(found, missing) by split, and the annotations."""
    notes, root, put = folders
    put(notes, annotations)
    put(root, dict.fromkeys(videos, ""))
    found = CONVERTERS[dataset](notes, root)
    splits, _ = locate(found, root)
    return (
        {name: [tuple(record) for record in split.found] for name, split in splits.items()},
        {name: [tuple(record) for record in split.missing] for name, split in splits.items() if split.missing},
        found,
    )


DIVING = {
    "Diving48_vocab.json": json.dumps(
        [
            ["Back", "15som", "05Twis", "FREE"],
            ["Back", "15som", "15Twis", "FREE"],
            ["Reverse", "Dive", "NoTwis", "TUCK"],
        ]
    ),
    "Diving48_V2_train.json": json.dumps(
        [
            {"vid_name": "-mmq0PT-u8k_00155", "label": 2, "start_frame": 0, "end_frame": 48},
            {"vid_name": "_8Vy3dlHg2w_00000", "label": 0, "start_frame": 3, "end_frame": 120},
        ]
    ),
    "Diving48_V2_test.json": json.dumps([{"vid_name": "0B2uE_9sb4o_00021", "label": 1}]),
}


def test_diving48(folders):
    videos = ["rgb/-mmq0PT-u8k_00155.mp4", "rgb/_8Vy3dlHg2w_00000.mp4"]
    found, missing, notes = convert("diving48", folders, DIVING, videos)
    assert found == {"train": [(videos[0], 2), (videos[1], 0)], "test": []}
    assert missing == {"test": [("0B2uE_9sb4o_00021.mp4", 1)]}
    assert notes.classes == ["Back+15som+05Twis+FREE", "Back+15som+15Twis+FREE", "Reverse+Dive+NoTwis+TUCK"]


HMDB = {
    f"testTrainMulti_7030_splits/{name}_test_split{split}.txt": "".join(
        f"{clip} {use} \n" for clip, use in zip(clips, uses[split - 1], strict=True)
    )
    for name, clips, uses in [
        ("clap", ["#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi", "a;b&c_clap_1.avi"], ["12", "21", "02"]),
        ("sword", ["(Rad)Schlag_die_Bank!_sword_f_0.avi"], ["1", "0", "2"]),
        ("sword_exercise", ["Blade_sword_exercise_f_1.avi"], ["2", "1", "1"]),
    ]
    for split in (1, 2, 3)
}


def test_hmdb51_has_three_splits_and_unused_clips(folders):
    clap = ["clap/#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi", "clap/a;b&c_clap_1.avi"]
    sword, exercise = "sword/(Rad)Schlag_die_Bank!_sword_f_0.avi", "sword_exercise/Blade_sword_exercise_f_1.avi"
    found, missing, notes = convert("hmdb51", folders, HMDB, [*clap, sword, exercise])
    assert notes.classes == ["clap", "sword", "sword_exercise"] and not missing
    assert found == {
        "train_split1": [(clap[0], 0), (sword, 1)],
        "test_split1": [(clap[1], 0), (exercise, 2)],
        "train_split2": [(clap[1], 0), (exercise, 2)],
        "test_split2": [(clap[0], 0)],
        "train_split3": [(exercise, 2)],
        "test_split3": [(clap[1], 0), (sword, 1)],
    }


def test_a_clip_of_the_same_name_in_another_class_is_not_taken(folders):
    _, missing, _ = convert("hmdb51", folders, HMDB, ["sword_exercise/(Rad)Schlag_die_Bank!_sword_f_0.avi"])
    assert ("sword/(Rad)Schlag_die_Bank!_sword_f_0.avi", 1) in missing["train_split1"]


ELSEWHERE = {
    "another folder's file of that name": ("s01/clip1.mp4 0\ns02/clip1.mp4 1\n", ["s01/clip1.mp4"], ["s02/clip1.mp4"]),
    "a picture for a video": ("a/1.mp4 0\n", ["thumbs/1.jpg", "frames/a/1.png"], ["a/1.mp4"]),
    "a mask for a picture": ("Abyssinian_1.jpg 0\n", ["trimaps/Abyssinian_1.png"], ["Abyssinian_1.jpg"]),
    "hidden files": ("a/1.mp4 0\n", ["a/.1.mp4", ".cache/a/1.mp4"], ["a/1.mp4"]),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_what_is_missing_is_not_made_up_for(folders, case):
    text, videos, expected = ELSEWHERE[case]
    _, missing, _ = convert("list", folders, {"train.txt": text}, videos)
    assert [name for name, _ in missing["train"]] == expected


SEVERAL = {
    "the listed suffix": ("a/1.mp4", ["x/a/1.mkv", "x/a/1.mp4"], "x/a/1.mp4"),
    "any suffix of a video": ("a/1.webm", ["x/a/1.MP4", "x/b/2.mp4"], "x/a/1.MP4"),
    "the folder of the split": ("a/1.mp4", ["train_256/a/1.mp4", "train/a/1.mp4"], "train/a/1.mp4"),
    "another machine's path": ("/data/k/air_drum/1.mp4", ["v/air drum/1.mp4"], "v/air drum/1.mp4"),
    "another class's folder only if listed": ("v/b/1.mp4", ["v/a/1.mp4", "w/v/b/1.mp4"], "w/v/b/1.mp4"),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_of_several_files_the_likeliest(folders, case):
    name, videos, expected = SEVERAL[case]
    found, _, _ = convert("list", folders, {"train.txt": f"{name} 0\n"}, videos)
    assert found["train"] == [(expected, 0)]


def test_names_that_repeat_are_told_apart_by_their_folders(folders):
    text = "/other/machine/a a/1.mp4 0\n/other/machine/bb/1.mp4 1\n/other/machine/cc/1.mp4 1\n"
    found, missing, _ = convert("list", folders, {"train.txt": text}, ["a_a/1.mp4", "bb/1.mp4", "1.mp4"])
    assert found["train"] == [("a_a/1.mp4", 0), ("bb/1.mp4", 1)]
    assert missing["train"] == [("/other/machine/cc/1.mp4", 1)]


def test_links_are_followed_and_loops_are_not(folders):
    notes, root, put = folders
    put(root, {"rgb/1.mp4": ""})
    (root / "again").symlink_to(root / "rgb")
    (root / "rgb" / "loop").symlink_to(root)
    put(notes, {"elsewhere/a/2.mp4": ""})
    (root / "linked").symlink_to(notes / "elsewhere")
    found, missing, _ = convert("list", folders, {"train.txt": "1.mp4 0\na/2.mp4 1\n"})
    assert [label for _, label in found["train"]] == [0, 1] and not missing


KINETICS = {
    "new": {
        "kinetics_train.csv": "label,youtube_id,time_start,time_end,split,is_cc\n"
        "abseiling,-0wR5jVB-WPk,417,427,train,0\n"
        '"passing American football (in game)",_-Qb,3,13,train,1\n',
        "kinetics-400_val.csv": "label,youtube_id,time_start,time_end,split\n"
        "massaging person's head,0b#d,1.0,11.0,val\n",
        "test.csv": "youtube_id,time_start,time_end,split\n--6bJUbfpnQ,17,27,test\n",
    },
    "old": {
        "train.csv": "\ufefflabel,youtube_id,time_start,time_end\r\nabseiling,-0wR5jVB-WPk,417,427\r\n"
        '"passing American football (in game)",_-Qb,3,13\r\n',
        "validate.csv": "label,youtube_id,time_start,time_end,split,is_cc\n"
        '"massaging person\'s head",0b#d,1,11,val,0\n',
        "test.csv": "label,youtube_id,time_start,time_end,split\nabseiling,--6bJUbfpnQ,17,27,test\n",
    },
}


@pytest.mark.parametrize("form", KINETICS)
@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("{label}/{clip}.mp4", "{label}/{clip}.mp4"),
        ("train_256/{label_}/{clip}.mp4", "val_256/{label_}/{clip}.mkv"),
        ("train/{clip}.mp4", "replacement/{clip}.mp4"),
    ],
    ids=["spaces", "underscores", "flat"],
)
def test_kinetics_in_every_form_and_layout(folders, form, train, val):
    named = [
        (train, "abseiling", "-0wR5jVB-WPk_000417_000427"),
        (train, "passing American football (in game)", "_-Qb_000003_000013"),
        (val, "massaging person's head", "0b#d_000001_000011"),
    ]
    paths = [form.format(label=label, label_=label.replace(" ", "_"), clip=clip) for form, label, clip in named]
    found, missing, notes = convert("k400", folders, KINETICS[form], paths)
    assert notes.classes == ["abseiling", "massaging person's head", "passing American football (in game)"]
    assert found["train"] == [(paths[0], 0), (paths[1], 2)] and found["val"] == [(paths[2], 1)]
    if form == "new":
        assert not missing and notes.notes == ("test: test.csv has no labels, no list is written",)
    else:
        assert missing == {"test": [("abseiling/--6bJUbfpnQ_000017_000027.mp4", 0)]} and not notes.notes


def test_a_replaced_clip_comes_before_the_broken_one(folders):
    clip = "-0wR5jVB-WPk_000417_000427.mp4"
    for broken in (f"train/{clip}", f"train/abseiling/{clip}", f"abseiling/{clip}"):
        videos = [broken, f"replacement/replacement_for_corrupted_k400/{clip}"]
        found, _, _ = convert("k400", folders, KINETICS["new"], videos)
        assert found["train"] == [(videos[1], 0)]


def test_two_clips_of_one_name_are_not_guessed_between(folders):
    clip = "-0wR5jVB-WPk_000417_000427.mp4"
    with pytest.raises(UserError, match=rf"may be a/{clip} or b/{clip} below .*; name a narrower --videos"):
        convert("k400", folders, KINETICS["new"], [f"a/{clip}", f"b/{clip}"])


def test_a_class_list_beside_the_annotations_gives_the_order(folders):
    order = "passing American football (in game)\nabseiling\nmassaging person's head\n"
    _, _, notes = convert("k400", folders, {**KINETICS["old"], "label_map_k400.txt": order})
    assert notes.classes == order.splitlines()
    assert notes.splits["test"][0].label == 1


LABELS = {"Approaching something with your camera": "0", "Holding something next to something": "1"}
LABELS |= {"Stacking number of something": "2"}
SSV2_TRAIN = [
    {"id": "78687", "label": "holding a next to b", "template": "Holding [something] next to [something]"},
    {"id": "3", "label": "x", "template": "Stacking [number of] [something]", "placeholders": ["4", "cups, blue"]},
]
SSV2_VAL = [{"id": "74225", "label": "y", "template": "Approaching [something] with your camera"}]
SSV2 = {
    "first": {
        "something-something-v2-labels.json": json.dumps(LABELS),
        "something-something-v2-train.json": json.dumps(SSV2_TRAIN),
        "something-something-v2-validation.json": json.dumps(SSV2_VAL),
        "something-something-v2-test.json": json.dumps([{"id": "1420"}]),
    },
    "second": {
        "labels/labels.json": json.dumps(LABELS),
        "labels/train.json": json.dumps(SSV2_TRAIN),
        "labels/validation.json": json.dumps(SSV2_VAL),
        "labels/test.json": json.dumps([{"id": "1420"}]),
        "labels/test-answers.csv": "1420;Holding something next to something\n50058;Stacking number of something\n",
    },
}


@pytest.mark.parametrize("form", SSV2)
def test_ssv2_in_both_generations(folders, form):
    videos = [f"20bn-something-something-v2/{number}.webm" for number in (78687, 3, 74225, 1420)]
    found, missing, notes = convert("ssv2", folders, SSV2[form], videos)
    assert notes.classes == list(LABELS)
    assert found["train"] == [(videos[0], 1), (videos[1], 2)] and found["val"] == [(videos[2], 0)]
    if form == "first":
        assert list(found) == ["train", "val"] and notes.notes == (
            "test: there is no test-answers.csv, no list is written",
        )
    else:
        assert found["test"] == [(videos[3], 1)] and missing == {"test": [("50058.webm", 2)]}


# --- folders and other toolkits' lists


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


# --- VTAB-1k and few-shot


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


# --- errors


def test_one_file_is_not_found_under_two_names_or_labels(folders):
    with pytest.raises(UserError, match=r"x/1.mp4: has labels 0 and 1 in the train list"):
        convert("list", folders, {"train.txt": "x/1.mp4 0\nx/1.mp4 1\n"}, ["x/1.mp4"])
    with pytest.raises(UserError, match=r"1.mp4 and x/1.mp4 are both found as x/1.mp4"):
        convert("list", folders, {"train.txt": "1.mp4 0\nx/1.mp4 0\n"}, ["x/1.mp4"])


BAD = {
    "no files": ("diving48", {}, "holds no Diving48_vocab.json"),
    "version 1": ("diving48", {"Diving48_vocab.json": "[]", "Diving48_train.json": "[]"}, "no Diving48_V2_train.json"),
    "no JSON": ("diving48", {"Diving48_vocab.json": "{["}, "Diving48_vocab.json: no valid JSON"),
    "other JSON": ("diving48", {"Diving48_vocab.json": "{}"}, "Diving48_vocab.json: holds no JSON list"),
    "no label": ("diving48", {**DIVING, "Diving48_V2_test.json": '[{"vid_name": "a"}]'}, "no vid_name and label in"),
    "label outside": (
        "diving48",
        {**DIVING, "Diving48_V2_test.json": '[{"vid_name": "a", "label": 3}]'},
        "label 3 of a.mp4 is not in the vocabulary of 3",
    ),
    "a class lacks a split": ("hmdb51", {"a_test_split1.txt": "x.avi 1\n"}, "lacks a_test_split2.txt"),
    "a wrong flag": (
        "hmdb51",
        {f"a_test_split{n}.txt": "x.avi 3\n" for n in (1, 2, 3)},
        "a_test_split1.txt:1: 'x.avi 3' does not end with 0, 1 or 2",
    ),
    "no splits": ("hmdb51", {"notes.txt": ""}, "holds no <class>_test_split<1, 2 or 3>.txt"),
    "no csv": ("k400", {"readme.txt": ""}, "holds no train.csv, val.csv or test.csv"),
    "no header": ("k400", {"train.csv": "abseiling,x,1,11,train\n"}, "train.csv: its header lacks youtube_id"),
    "a short row": ("k400", {"train.csv": "label,youtube_id,time_start,time_end\na,b\n"}, "train.csv:2: not as many"),
    "no times": (
        "k400",
        {"train.csv": "label,youtube_id,time_start,time_end\na,b,x,y\n"},
        "train.csv: no times for b, 'x', 'y'",
    ),
    "two of a split": (
        "k400",
        dict.fromkeys(["train.csv", "kinetics_train.csv"], KINETICS["old"]["train.csv"]),
        "train.csv: looks like the train list, and so does kinetics_train.csv; keep one",
    ),
    "an unknown class": (
        "k400",
        {**KINETICS["old"], "classes.txt": "abseiling\n"},
        "the list of classes lacks 'massaging",
    ),
    "an unknown template": (
        "ssv2",
        {**SSV2["first"], "something-something-v2-train.json": '[{"id": "1", "template": "Eating [it]"}]'},
        "'Eating it' is no label of labels.json",
    ),
    "an entry without a template": (
        "ssv2",
        {**SSV2["first"], "something-something-v2-train.json": '[{"id": "1"}]'},
        "no id and template in {'id': '1'}",
    ),
    "labels that are no numbers": (
        "ssv2",
        {**SSV2["first"], "something-something-v2-labels.json": '{"a": "x"}'},
        "the labels are not numbered from 0",
    ),
    "lists of raw frames": ("list", {"train_rawframes.txt": "a 120 3\n"}, "lists of raw frames are not read"),
    "a list of nothing": ("list", {"notes.md": ""}, "holds no list of videos whose name tells its split"),
    "too few names": (
        "list",
        {"train.txt": "a.mp4 3\n", "classes.txt": "a\n"},
        "its list names 1 classes, the lists hold label 3",
    ),
    "two copies of a split": (
        "hmdb51",
        {f"{folder}a_test_split{n}.txt": "x.avi 1\n" for n in (1, 2, 3) for folder in ("", "old/")},
        "a_test_split1.txt are there; keep one",
    ),
    "a row without its label": (
        "k400",
        {"train.csv": "label,youtube_id,time_start,time_end\na,b,1,2\n,c,1,2\n"},
        "train.csv: c has no label",
    ),
    "an unbalanced quote": (
        "k400",
        {"train.csv": f'label,youtube_id,time_start,time_end\n"a,b,1,2\n{"x" * 140_000}\n'},
        "no valid CSV (field larger than field limit",
    ),
    "an answer without its separator": (
        "ssv2",
        {**SSV2["second"], "labels/test-answers.csv": "1420,Holding something\n"},
        "test-answers.csv:1: '1420,Holding something' is not 'id;label'",
    ),
    "a label that is no integer": (
        "diving48",
        {**DIVING, "Diving48_V2_test.json": '[{"vid_name": "a", "label": 1.7}]'},
        "no vid_name and label in",
    ),
    "a vocabulary of numbers": ("diving48", {**DIVING, "Diving48_vocab.json": "[1]"}, "is no list of classes"),
    "empty folders": ("folder", {}, "holds no folders of videos or pictures"),
    "no such set": ("vtab/pets", {}, "holds no folder oxford_iiit_pet or oxford_pet or pets"),
    "no shots": ("fewshot/cars", {"stanford_cars/test_meta.list": "a 0\n"}, "holds no train_meta.list.num_shot_"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_annotations_are_one_line(folders, case):
    dataset, files, message = BAD[case]
    with pytest.raises(UserError) as caught:
        convert(dataset, folders, files)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_other_names_of_data_sets_lead_to_them():
    assert set(ALIASES.values()) <= set(CONVERTERS) and not set(ALIASES) & set(CONVERTERS)

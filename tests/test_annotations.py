"""The authors' own formats, nasty names included, to lists that are written out here."""

import json

import pytest
from conftest import convert

from videoadapt.errors import UserError

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

"""Annotations that are wrong or ambiguous are one line that names them."""

import pytest
from conftest import convert
from test_annotations import DIVING, KINETICS, SSV2

from videoadapt.data.annotations import ALIASES, CONVERTERS
from videoadapt.errors import UserError


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

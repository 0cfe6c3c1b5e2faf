"""Every list form in use, and one line for every way to get it wrong."""

import tracemalloc

import pytest

from videoadapt.data.lists import Record, read_classes, read_list
from videoadapt.data.loaders import TrainBatches
from videoadapt.errors import UserError

FORMS = {
    "csv with header": ('path,label\na b.mp4,0\n"c,d.mp4",2\n', [("a b.mp4", 0), ("c,d.mp4", 2)]),
    "csv with spaces in the header": ("Path, Label\na.mp4,1\n", [("a.mp4", 1)]),
    "mmaction2, AIM, VideoMAE": ("x/a.mp4 0\nx/b.mp4 12\n", [("x/a.mp4", 0), ("x/b.mp4", 12)]),
    "paths with spaces": ("my dir/a b.mp4 3\n", [("my dir/a b.mp4", 3)]),
    "comma without header": ("a.mp4,0\nb c.mp4,1\n", [("a.mp4", 0), ("b c.mp4", 1)]),
    "comma in the path": ("a, b.mp4 4\n", [("a, b.mp4", 4)]),
    "number in the path": ("clip 7.mp4 1\nclip,8 2\n", [("clip 7.mp4", 1), ("clip,8", 2)]),
    "hash and dash": ("clap/#20_clap.avi 1\n-mmq0PT-u8k.mp4 0\n", [("clap/#20_clap.avi", 1), ("-mmq0PT-u8k.mp4", 0)]),
    "tabs, blank lines, CRLF, BOM": ("\ufeffa.mp4\t1\r\n\r\nb.mp4 0\r\n", [("a.mp4", 1), ("b.mp4", 0)]),
    "quoted without a header": ('"a, ""b"".mp4",0\n"c d.mp4" 1\n', [('a, "b".mp4', 0), ("c d.mp4", 1)]),
    "spaces that belong to a name": ("path,label\n a.mp4,1\n", [(" a.mp4", 1)]),
    "quoted header": ('"path","label"\n"a b.mp4","0"\n"c,""d"".mp4",2\n', [("a b.mp4", 0), ('c,"d".mp4', 2)]),
    "quoted header, BOM, CRLF": ('\ufeff"Path","Label"\r\n"a.mp4","1"\r\n', [("a.mp4", 1)]),
    "quoted header with spaces": (
        ' "path" , "label" \n"a.mp4", "1"\n "b, c.mp4", 2\n',
        [("a.mp4", 1), ("b, c.mp4", 2)],
    ),
    "single quotes": ("'path','label'\n'a, b.mp4','1'\nit's.mp4,2\n", [("a, b.mp4", 1), ("it's.mp4", 2)]),
    "quoted rows without a header": ('"a, b.mp4","3"\n"c.mp4" "4"\n', [("a, b.mp4", 3), ("c.mp4", 4)]),
    "single quotes without a header": ("'a b.mp4','3'\n'c'.mp4,4\n", [("a b.mp4", 3), ("'c'.mp4", 4)]),
    "spaces before quotes": ('path, label\na.mp4, "1"\n', [("a.mp4", 1)]),
    "a name that is quoted itself": ('path,label\n"""a""",1\n"a",2\n', [('"a"', 1), ("a", 2)]),
    "header with BOM and CRLF": ("\ufeffpath,label\r\na.mp4,1\r\n", [("a.mp4", 1)]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(tmp_path, form):
    text, expected = FORMS[form]
    (tmp_path / "list.txt").write_bytes(text.encode())
    records = read_list(tmp_path / "list.txt", num_classes=13)
    assert list(records) == [Record(*pair) for pair in expected]
    assert records[-1] == Record(*expected[-1]) and len(records) == len(expected)
    with pytest.raises(IndexError):
        records[len(expected)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4 0\nb.mp4\n", r"list.txt:2: no integer label at the end of 'b.mp4'"),
        ("path,label\na.mp4,0\nb.mp4\n", r"list.txt:3: no integer label at the end of 'b.mp4'"),
        ("path,label\na.mp4,cat\n", r"list.txt:2: no integer label"),
        ("a.mp4 0\nb.mp4 5\n", r"list.txt:2: label 5 of 'b.mp4' is out of range; data.num_classes is 5"),
        ("a.mp4 -1\n", r"list.txt:1: label -1 of 'a.mp4' is out of range"),
        ("\n\n", "the list is empty"),
        (b"a.mp4 0\n\xff\xfe 1\n", "cannot read the list file: 'utf-8' codec can't decode byte 0xff"),
        ("path,label\n" + "x" * 200_000 + ",1\n", "cannot read the list file: field larger than field limit"),
        ("path,label\n", "the list is empty"),
        (None, "cannot read the list file: No such file"),
    ],
)
def test_a_bad_list_is_one_line_with_its_place(tmp_path, text, message):
    path = tmp_path / "list.txt"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as caught:
        read_list(path, num_classes=5)
    assert "\n" not in str(caught.value)


def test_class_names_must_be_as_many_as_classes(tmp_path):
    (tmp_path / "classes.txt").write_text("a b\n\nc_d\n")
    assert read_classes(tmp_path / "classes.txt", 2) == ["a b", "c_d"]
    with pytest.raises(UserError, match="names 2 classes, data.num_classes is 3"):
        read_classes(tmp_path / "classes.txt", 3)


def test_a_list_of_a_million_lines_takes_little(tmp_path):
    """Not a clock: what stays is the names and sixteen bytes a line, and no line is an object."""
    path, count = tmp_path / "list.csv", 1_000_000
    lines = (f"class {number % 400}/{number:07d}.mp4,{number % 400}\n" for number in range(count))
    path.write_text("path,label\n" + "".join(lines))
    tracemalloc.start()
    records = read_list(path, 400)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(records) == count and records[123_456] == Record("class 256/0123456.mp4", 256)
    assert kept < 45e6 and peak < 110e6
    batches = TrainBatches(count, 64, seed=0, rank=3, world=8)
    batches.seek(5)
    tracemalloc.start()
    first = next(iter(batches))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(first) == 64 and peak < 1e6  # the order itself is torch's: 8 MB

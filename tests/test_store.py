"""Loose files, tar shards and URLs give the same samples; nothing leads out of the root."""

import os
import re
import tarfile
import zipfile

import fsspec
import numpy as np
import pytest
import torch
from chaos import Job, compare, train, write_problem
from conftest import encode, numbered_frames

from videoadapt.data.datasets import TestVideos, TrainVideos
from videoadapt.data.lists import Record
from videoadapt.data.loaders import TrainBatches, train_loader
from videoadapt.data.sampling import segment_indices
from videoadapt.data.transforms import TestTransform
from videoadapt.video import VideoReadError
from videoadapt.video.cache import VideoCache
from videoadapt.video.reader import VideoReader
from videoadapt.video.store import open_store

TestVideos.__test__ = TestTransform.__test__ = False
NAMES = ["-a #1.mp4", "some class/b.c, d.mp4", "some class/é.avi", "p.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos and a picture with the names that data sets have."""
    from PIL import Image

    root = tmp_path_factory.mktemp("loose files")
    (root / "some class").mkdir()
    for number, name in enumerate(NAMES[:3]):
        encode(root / name, numbered_frames(9 + number), "mpeg4" if name.endswith("avi") else "libx264")
    Image.fromarray(numbered_frames(1)[0]).save(root / NAMES[3])
    return root


def _shards(folder, target, per_shard=2, prefix=""):
    for number in range(0, len(NAMES), per_shard):
        with tarfile.open(target / f"s-{number // per_shard:03d}.tar", "w") as archive:
            for name in NAMES[number : number + per_shard]:
                archive.add(folder / name, prefix + name)
    return target


def _zip(folder, target):
    with zipfile.ZipFile(target / "x.zip", "w") as archive:
        for name in NAMES:
            archive.write(folder / name, name)
    return f"zip://::{target}/x.zip"


def _memory(folder, _target):
    for name in NAMES:
        fsspec.filesystem("memory").pipe(f"/root/{name}", (folder / name).read_bytes())
    return "memory://root"


ROOTS = {
    "folder": lambda folder, target: str(folder),
    "braces": lambda folder, target: f"{_shards(folder, target)}/s-{{000..001}}.tar",
    "star": lambda folder, target: f"{_shards(folder, target, 1, './')}/s-*.tar",
    "one tar": lambda folder, target: f"{_shards(folder, target, 9)}/s-000.tar",
    "file URL": lambda folder, target: f"file://{folder}",
    "memory": _memory,
    "zip": _zip,
    "cached URL": lambda folder, target: f"simplecache::file://{folder}",
}


@pytest.fixture(params=ROOTS)
def root(request, folder, tmp_path):
    return ROOTS[request.param](folder, tmp_path)


def _indices(num_frames, rng=None):
    return segment_indices(num_frames, 4, rng=rng)


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_every_store_gives_the_same_samples(folder, root, backend):
    records = [Record(name, label) for label, name in enumerate(NAMES)]
    for place in (str(folder), root):
        reader = VideoReader(place, backend)
        test = TestVideos(records, reader, _indices, TestTransform(32, 32, 1))
        learn = TrainVideos(records, reader, _indices, lambda frames: frames[..., :16, :16], seed=3)
        found = [(*test[i][:2], test[i].decoder, test[i].views(), learn[1, i].views) for i in range(len(NAMES))]
        if place == str(folder):
            expected = found
    for ours, theirs in zip(found, expected, strict=True):
        assert ours[:3] == theirs[:3]
        assert torch.equal(ours[3], theirs[3]) and torch.equal(ours[4], theirs[4])


def test_forked_workers_read_them_too(folder, root):
    records = [Record(name, label) for label, name in enumerate(NAMES)]
    views = []
    for place in (str(folder), root):
        videos = TrainVideos(records, VideoReader(place), _indices, lambda frames: frames[..., :16, :16], seed=3)
        videos[0, 0]  # this process is connected before it forks
        loader = train_loader(videos, TrainBatches(4, 2, seed=0), workers=2)
        views.append([sample.views for batch in loader for sample in batch])
    assert all(torch.equal(a, b) for a, b in zip(*views, strict=True)) and len(views[0]) == 4


def test_what_is_missing_is_known_and_named(root):
    store = open_store(root)
    assert store.missing([*NAMES, "no.mp4", "some class"]) == ["no.mp4", "some class"]
    with pytest.raises(VideoReadError, match=r"no\.mp4"):
        VideoReader(store).clips("no.mp4", _indices)


def test_messages_name_the_video_and_not_its_copy(folder, root, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "x.mp4").write_text("no video")
    with tarfile.open(broken / "s.tar", "w") as archive:
        archive.add(broken / "x.mp4", "x.mp4")
    for place, shown in ((f"{broken}/s.tar", f"{broken}/s.tar:x.mp4"), (f"file://{broken}", f"file://{broken}/x.mp4")):
        with pytest.raises(VideoReadError, match=f"^{re.escape(shown)}: not a readable video"):
            VideoReader(place).clips("x.mp4", _indices)


def test_copies_are_made_of_them_and_again_when_they_change(folder, tmp_path):
    shards = _shards(folder, tmp_path)
    frames = []
    for _ in range(2):
        cache = VideoCache(tmp_path / "copies", short_side=32)
        reader = VideoReader(f"{shards}/s-*.tar", short_side=32, cache=cache)
        frames.append(reader.clips(NAMES[0], _indices).frames)
        assert len(list((tmp_path / "copies").iterdir())) == 1
    assert torch.equal(*frames)
    _shards(folder, tmp_path, 9)
    os.utime(tmp_path / "s-000.tar", (1, 1))
    (tmp_path / "s-001.tar").unlink()
    VideoReader(f"{shards}/s-*.tar", short_side=32, cache=cache).clips(NAMES[0], _indices)
    assert len(list((tmp_path / "copies").iterdir())) == 2


OUT = {"../x.mp4": True, "/etc/passwd": True, "a/../../x.mp4": True, "..": True, "a/../x.mp4": False, "a..b": False}


@pytest.mark.parametrize("name", OUT)
def test_which_names_lead_out(folder, name):
    for place in (str(folder), f"file://{folder}"):
        assert open_store(place).leaves(name) == OUT[name], place
    assert not open_store(str(folder)).leaves(str(folder / "x.mp4"))  # absolute, and below the root
    assert open_store(f"file://{folder}").leaves("file:///etc/passwd")


def test_dots_do_not_follow_links(folder, tmp_path):
    """``link/../x`` is ``x``, and not what lies beside the link's target."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(folder / "some class")
    store = open_store(str(tmp_path / "root"))
    assert store.missing([f"link/../{NAMES[0]}"]) == [f"link/../{NAMES[0]}"]
    with store.local("link/../x.mp4") as path:
        assert path == tmp_path / "root" / "x.mp4"


def test_names_are_the_same_in_every_store(root):
    names = [f"./{NAMES[0]}", f"some class/../{NAMES[0]}", NAMES[0]]
    store = open_store(root)
    assert store.missing(names) == []
    frames = [VideoReader(store).clips(name, _indices).frames for name in names]
    assert torch.equal(frames[0], frames[2]) and torch.equal(frames[1], frames[2])


def test_a_link_below_the_root_is_its_owners_decision(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    store = open_store(str(tmp_path))
    assert not store.leaves(f"link/{NAMES[0]}") and store.missing([f"link/{NAMES[0]}"]) == []


# --- whole commands


def test_a_training_from_shards_ends_with_the_same_bits(tool, tmp_path):
    config = write_problem(tmp_path, videos=8, epochs=1)
    options = ["--root", tmp_path, "--out", tmp_path / "tar", "--megabytes", "0.02"]
    code, out, err = tool("shards", tmp_path / "list.csv", *options)
    assert code == 0, err
    root = re.search(r"8 videos in (\d+) shards: data.root=(.*)\n", out)
    assert int(root[1]) > 1 and not list((tmp_path / "tar").glob(".*"))
    for name, place in (("loose", tmp_path), ("tar", root[2]), ("url", f"file://{tmp_path}")):
        overrides = [f"data.root={place}", "run.eval_every=1", "run.save_every=null"]
        job = train(config, tmp_path / f"run {name}", 1, *overrides)
        assert job.wait() == [0], job.output()
        out_dir = tmp_path / f"test {name}"
        command = ["test", config, "--checkpoint", tmp_path / "run loose" / "last.safetensors", f"data.root={place}"]
        job = Job([*command, f"run.out_dir={out_dir}"], 1, tmp_path / "output.txt")
        assert job.wait() == [0], job.output()
        compare(tmp_path / "run loose", tmp_path / f"run {name}")
        scores = [np.load(tmp_path / f"test {which}" / "predictions.npz")["scores"] for which in ("loose", name)]
        np.testing.assert_array_equal(*scores)


def test_shards_are_what_webdataset_reads(folder, tool, tmp_path):
    import webdataset

    lines = "".join(f'"{name}",{label}\n' for label, name in enumerate(NAMES))
    (tmp_path / "list.csv").write_text(f"path,label\n{lines}")
    code, out, err = tool("shards", tmp_path / "list.csv", "--root", folder, "--out", tmp_path / "tar")
    assert code == 0, err
    pattern = out.strip().partition("data.root=")[2]
    samples = {sample["__key__"]: sample for sample in webdataset.WebDataset(pattern, shardshuffle=False)}
    assert samples["-a #1"]["mp4"] == (folder / NAMES[0]).read_bytes() and samples["-a #1"]["cls"] == b"0"
    assert open_store(pattern).missing(NAMES) == []


def test_shards_hold_names_with_dots_and_second_names_of_a_file(folder, tool, tmp_path):
    for name in ("x.1.mp4", "x.2.mp4", "x.avi"):
        (tmp_path / name).write_bytes((folder / NAMES[0]).read_bytes())
    (tmp_path / "list.txt").write_text("x.1.mp4 0\nx.2.mp4 1\nx.avi 2\n")
    code, out, err = tool("shards", tmp_path / "list.txt", "--root", tmp_path, "--out", tmp_path / "tar")
    assert code == 0, err
    store = open_store(out.strip().partition("data.root=")[2])
    assert store.missing(["x.1.mp4", "x.2.mp4", "x.avi", "x.cls"]) == ["x.cls"]
    (tmp_path / "again.mp4").hardlink_to(tmp_path / "x.avi")
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        archive.add(tmp_path / "x.avi", "x.avi")
        archive.add(tmp_path / "again.mp4", "again.mp4")
    with open_store(str(tmp_path / "links.tar")).local("again.mp4") as path:
        assert path.read_bytes() == (folder / NAMES[0]).read_bytes()


def test_a_shard_that_shrinks_is_told(folder, tmp_path):
    store = open_store(f"{_shards(folder, tmp_path, 9)}/s-000.tar")
    os.truncate(tmp_path / "s-000.tar", 700)
    with pytest.raises(VideoReadError, match=r"s-000.tar:-a #1.mp4: the shard was cut short"):
        VideoReader(store).clips(NAMES[0], _indices)


def test_a_network_that_hiccups_is_asked_again(folder, monkeypatch):
    store, calls = open_store(f"file://{folder}"), []
    fetch = store._fs.cat_file

    def hiccup(path):
        calls.append(path)
        if len(calls) == 1:
            raise ConnectionError("reset")
        return fetch(path)

    monkeypatch.setattr(store._fs, "cat_file", hiccup)
    monkeypatch.setattr("videoadapt.video.store._PAUSES", (0, 0))
    assert len(VideoReader(store).clips(NAMES[0], _indices).frames) == 4 and len(calls) == 2
    monkeypatch.setattr(store._fs, "cat_file", lambda path: 1 / 0)
    with pytest.raises(VideoReadError, match=r"cannot be fetched \(ZeroDivisionError"):
        VideoReader(store).clips(NAMES[0], _indices)


SHARD_MISTAKES = {
    "missing": ("gone.mp4 1", [], "1 of 1 listed videos are missing, first: gone.mp4"),
    "no suffix": ("plain 1", [], "plain: leads out of --root or has no suffix"),
    "empty suffix": ("n. 1", [], "n.: leads out of --root or has no suffix"),
    "there": ("-a #1.mp4 0", ["--name", "old"], "old-000000.tar is there already"),
    "unwritable": ("-a #1.mp4 0", ["--out", "/proc/x"], "--out: cannot write into /proc/x"),
}


@pytest.mark.parametrize("kind", SHARD_MISTAKES)
def test_a_mistake_in_packing_is_one_line(folder, tool, tmp_path, kind):
    listed, options, message = SHARD_MISTAKES[kind]
    (tmp_path / "list.txt").write_text(listed)
    for name in ("plain", "n."):
        (folder / name).write_text("")
    (tmp_path / "old-000000.tar").write_text("")
    code, _, err = tool("shards", tmp_path / "list.txt", "--root", folder, "--out", tmp_path, *options)
    assert code == 2 and message in err and err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"list.txt", "old-000000.tar"}

"""A data root that cannot be opened is one line that names it and the remedy."""

import subprocess
import sys
import tarfile

import pytest

from videoadapt.errors import UserError
from videoadapt.video.store import open_store


def _mistake(tmp_path, kind):
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w:gz" if kind == "compressed" else "w") as archive:
        archive.add(__file__, "a.mp4")
        archive.add(__file__, "b.mp4")
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-12_000])
    if kind == "twice":
        (tmp_path / "t.tar").write_bytes(path.read_bytes())
        return f"{tmp_path}/*.tar"
    if kind == "header":
        content = bytearray(path.read_bytes())
        with tarfile.open(path) as archive:
            content[archive.getmember("b.mp4").offset + 148] ^= 1  # the checksum of its header
        path.write_bytes(content)
    if kind == "sparse":
        with (tmp_path / "hole").open("wb") as file:
            file.truncate(2_000_000)
            file.seek(1_500_000)
            file.write(b"x")
        subprocess.run(["tar", "-S", "-cf", path, "-C", tmp_path, "hole"], check=True)
    if kind == "foreign":
        path.write_bytes(b"x" * 5000)
    places = {"absent": f"{tmp_path}/none.tar", "none": f"{tmp_path}/no-*.tar"}
    return {**places, "protocol": "nosuch://x", "package": "gcs://x"}.get(kind, str(path))


MISTAKES = {
    "compressed": "s.tar is no whole, uncompressed tar",
    "foreign": "s.tar is no whole, uncompressed tar",
    "cut": "s.tar is no whole, uncompressed tar",
    "header": r"s.tar is no whole, uncompressed tar \(ReadError: it is damaged or cut short at byte",
    "sparse": "s.tar is no whole, uncompressed tar .*hole is stored sparsely",
    "twice": r"both .*s.tar and .*t.tar hold 'a.mp4'; keep one",
    "absent": "there is no shard .*none.tar",
    "none": r"there is no shard .*no-\*.tar",
    "protocol": "nosuch://x cannot be opened .*Protocol not known",
    "package": "gcs://x cannot be opened .*[Ii]nstall",
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_root_that_cannot_be_opened_is_one_line(tmp_path, kind):
    with pytest.raises(UserError, match=f"data.root: .*{MISTAKES[kind]}"):
        open_store(_mistake(tmp_path, kind))


def test_braces_without_webdataset_have_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "braceexpand", None)
    with pytest.raises(UserError, match=r"pip install 'videoadapt\[webdataset\]', or write \*"):
        open_store("s-{000..001}.tar")

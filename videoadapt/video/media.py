"""What a file shows, a video or a picture: by its suffix where that tells, else by its first bytes."""

from pathlib import Path, PurePath
from typing import Literal

from videoadapt.video.signatures import is_text, recognised

Kind = Literal["video", "animation", "picture"]  # an animation is a video that Pillow reads


def _suffixes(words: str) -> frozenset[str]:
    return frozenset(f".{word}" for word in words.split())


PICTURES = _suffixes("""
    apng avif avifs bmp dib heic heif hif j2c j2k jfif jif jp2 jpc jpe jpeg jpf jpg jpx jxl mpo pbm pcx pgm png pnm ppm
    qoi ras sgi tga tif tiff webp xbm xpm
""")
# Of all that FFmpeg demuxes, the suffixes that nothing else has; TypeScript's are told apart below.
VIDEOS = _suffixes("""
    264 265 266 3g2 3gp 3gp2 3gpp amv apv asf av1 avc avi avs2 avs3 bik bk2 cavs dav dif dirac divx drc dv dvr-ms evo
    f4v flc fli flv gif gxf h261 h263 h264 h265 h266 h26l hevc insv ismv ivf kux lrv m1v m2p m2t m2ts m2v m4v mj2 mjp2
    mjpeg mjpg mk3d mkv mov mp2v mp4 mpe mpeg mpg mpv mpv2 mts mxf nsv nut obu ogm ogv qt rcv rm rmvb roq rv smk swf tp
    trp ts ty vc1 viv vob vro vvc webm wm wmv wtv xvid y4m
""")
MEDIA = VIDEOS | PICTURES
_TYPESCRIPT = _suffixes("ts mts")
# Videos have these, and so have other things: the content decides.
SHARED = _suffixes("bin dat mod ogg ogx rec tod")
# Not even opened in a walk: tables and weights; documents and code; archives; sound; subtitles; what cameras write
# beside a video or instead of a picture; what editors and browsers leave of a file, or only a part of it.
OTHERS = _suffixes("""
    cfg conf csv db feather h5 hdf5 ini json jsonl log mat md npy npz parquet pickle pkl pt pth rst safetensors sqlite
    toml tsv txt xls xlsx xml yaml yml
    doc docx htm html ipynb js lnk m3u m3u8 mpd nfo odt pdf pps ppt pptx py pyc rtf sh svg url
    7z bz2 gz lz4 rar tar tgz torrent xz zip zst
    aac ac3 aif aiff alac amr ape au dts eac3 flac m4a m4b mid midi mka mp2 mp3 oga opus ra wav wma
    ass idx lrc mks sbv smi srt ssa sub sup ttml vtt
    arw bup cr2 cr3 dng ifo info nef nrw orf pef raf rw2 srw thm xmp
    aria2 bak crdownload download md5 old opdownload orig part partial sha1 sha256 swp temp tmp ytdl
""")


def kind_of_name(name: str | PurePath) -> Kind | None:
    """What the suffix alone tells, whether or not there is such a file."""
    suffix = PurePath(name).suffix.lower()
    return "picture" if suffix in PICTURES else "video" if suffix in VIDEOS else None


def kind_of(path: Path) -> Kind | None:
    """What a file shows; None if neither its suffix nor its first bytes tell.

    A suffix of a video is believed. Behind one of a picture may be an animation, or something else altogether.
    """
    named = kind_of_name(path)
    return named if named == "video" else recognised(path, named is not None) or named


def is_still(path: str | Path) -> bool:
    """Whether it is a picture that does not move."""
    return kind_of(Path(path)) == "picture"


def kind_in_walk(path: Path) -> Kind | None:
    """The same for one of many files: pictures are not opened, nor is what by its name shows nothing."""
    named, suffix = kind_of_name(path), path.suffix.lower()
    if suffix in _TYPESCRIPT:
        return None if is_text(path) else named
    plain = suffix in OTHERS or path.name.endswith("~")  # an editor's copy of the same
    return named if named or plain else recognised(path)

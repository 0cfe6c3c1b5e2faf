"""torchvision's image sets, from small files in their authors' formats."""

import gzip
import pickle
import struct

import h5py
import numpy as np
import pytest
import scipy.io
import torchvision.datasets as sets
from PIL import Image

from videoadapt.data.annotations import CONVERTERS, DOWNLOADABLE, divide, locate
from videoadapt.errors import UserError
from videoadapt.video import open_video

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def _picture(path, number=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS[number]).save(path)


def _text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _cifar10(root):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for number in range(1, 7):
        name = f"data_batch_{number}" if number < 6 else "test_batch"
        content = {"data": PIXELS[:2].transpose(0, 3, 1, 2).reshape(2, -1), "labels": [number % 5, 9]}
        (folder / name).write_bytes(pickle.dumps(content))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))


def _cifar100(root):
    folder = root / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test"):
        content = {"data": PIXELS[:2].transpose(0, 3, 1, 2).reshape(2, -1), "fine_labels": [1, 0]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple", "aquarium fish"]}))


def _mnist(root):
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        pictures = PIXELS[:2, :28, :28, 0]
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 2, 28, 28) + pictures.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 2) + bytes([7, 0]))
        for kind in ("images-idx3", "labels-idx1"):
            plain = folder / f"{part}-{kind}-ubyte"
            plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))


def _svhn(root):
    for part in ("train", "test"):
        scipy.io.savemat(
            root / f"{part}_32x32.mat", {"X": PIXELS[:2].transpose(1, 2, 3, 0), "y": np.array([[10], [3]])}
        )


def _food101(root):
    for name in ("apple_pie/1", "waffles/2", "waffles/3"):
        _picture(root / "food-101" / "images" / f"{name}.jpg")
    _text(root / "food-101/meta/train.json", '{"apple_pie": ["apple_pie/1"], "waffles": ["waffles/2"]}')
    _text(root / "food-101/meta/test.json", '{"apple_pie": [], "waffles": ["waffles/3"]}')


def _dtd(root):
    for number, part in enumerate(("train", "val", "test")):
        names = [f"{name}/{name}_{number}.jpg" for name in ("banded", "woven")]
        for name in names:
            _picture(root / "dtd" / "dtd" / "images" / name)
        _text(root / f"dtd/dtd/labels/{part}1.txt", "".join(f"{name}\n" for name in names))


def _aircraft(root):
    data = root / "fgvc-aircraft-2013b" / "data"
    _text(data / "variants.txt", "707-320\nF/A-18\n")
    for part, number, name in (("train", 1, "707-320"), ("val", 2, "F/A-18"), ("test", 3, "F/A-18")):
        _picture(data / "images" / f"000000{number}.jpg")
        _text(data / f"images_variant_{part}.txt", f"000000{number} {name}\n")
    _text(data / "images_variant_trainval.txt", "0000001 707-320\n0000002 F/A-18\n")


def _flowers102(root):
    folder = root / "flowers-102"
    for number in range(1, 7):
        _picture(folder / "jpg" / f"image_{number:05d}.jpg")
    scipy.io.savemat(folder / "setid.mat", {"trnid": [[1, 2]], "valid": [[3, 4]], "tstid": [[5, 6]]})
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": [[77, 1, 1, 2, 102, 1]]})


def _pets(root):
    folder = root / "oxford-iiit-pet"
    for name in ("Abyssinian_1", "yorkshire_terrier_2"):
        _picture(folder / "images" / f"{name}.jpg")
    _text(folder / "annotations/trainval.txt", "Abyssinian_1 1 1 1\nyorkshire_terrier_2 2 2 1\n")
    _text(folder / "annotations/test.txt", "yorkshire_terrier_2 2 2 1\n")


def _cars(root):
    folder = root / "stanford_cars"
    kind = [("bbox_x1", "i4"), ("class", "i4"), ("fname", "O")]
    for part in ("train", "test"):
        _picture(folder / f"cars_{part}" / "00001.jpg")
        place = folder / ("devkit/cars_train_annos.mat" if part == "train" else "cars_test_annos_withlabels.mat")
        place.parent.mkdir(exist_ok=True)
        scipy.io.savemat(place, {"annotations": np.array([(39, 2, "00001.jpg")] * 2, dtype=kind)})
    names = np.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012"], dtype=object)
    scipy.io.savemat(folder / "devkit/cars_meta.mat", {"class_names": names})


def _pcam(root):
    (root / "pcam").mkdir()
    for part in ("train", "valid", "test"):
        with h5py.File(root / "pcam" / f"camelyonpatch_level_2_split_{part}_x.h5", "w") as file:
            file["x"] = PIXELS[:2]
        with h5py.File(root / "pcam" / f"camelyonpatch_level_2_split_{part}_y.h5", "w") as file:
            file["y"] = np.array([1, 0], np.uint8).reshape(2, 1, 1, 1)


def _eurosat(root):
    for name in ("AnnualCrop", "Forest"):
        for number in range(5):
            _picture(root / "eurosat" / "2750" / name / f"{name}_{number}.jpg")


def _caltech101(root):
    for name in ("BACKGROUND_Google", "accordion", "yin_yang"):
        for number in (1, 2, 3, 4, 5):
            _picture(root / "caltech101" / "101_ObjectCategories" / name / f"image_{number:04d}.jpg")
    (root / "caltech101" / "Annotations").mkdir()


def _sun397(root):
    _text(root / "SUN397/ClassName.txt", "/a/abbey\n/b/basement\n")
    for number in range(5):
        for name in ("a/abbey", "b/basement"):
            _picture(root / "SUN397" / name / f"sun_{name[0]}{number}.jpg")


# The set as its authors ship it; labels of each split; how the second class is called; whether its pictures are files.
SETS = {
    "cifar10": (_cifar10, {"train": [1, 9, 2, 9, 3, 9, 4, 9, 0, 9], "test": [1, 9]}, "automobile", False),
    "cifar100": (_cifar100, {"train": [1, 0], "test": [1, 0]}, "aquarium fish", False),
    "mnist": (_mnist, {"train": [7, 0], "test": [7, 0]}, "1 - one", False),
    "svhn": (_svhn, {"train": [0, 3], "test": [0, 3]}, "1", False),
    "food101": (_food101, {"train": [0, 1], "test": [1]}, "waffles", True),
    "dtd": (_dtd, {"train": [0, 1], "val": [0, 1], "test": [0, 1]}, "woven", True),
    "aircraft": (_aircraft, {"train": [0, 1], "val": [1], "test": [1]}, "F/A-18", True),
    "flowers102": (_flowers102, {"train": [76, 0], "val": [0, 1], "test": [101, 0]}, None, True),
    "pets": (_pets, {"train": [0, 1], "test": [1]}, "Yorkshire Terrier", True),
    "cars": (_cars, {"train": [1, 1], "test": [1, 1]}, "Acura RL Sedan 2012", True),
    "pcam": (_pcam, {"train": [1, 0], "val": [1, 0], "test": [1, 0]}, "1", False),
    "eurosat": (_eurosat, {"train": [0] * 4 + [1] * 4, "val": [0, 1]}, "Forest", True),
    "caltech101": (_caltech101, {"train": [0] * 4 + [1] * 4, "val": [0, 1]}, "yin_yang", False),
    "sun397": (_sun397, {"train": [0] * 4 + [1] * 4, "val": [0, 1]}, "basement", True),
}


@pytest.fixture
def any_size(monkeypatch):
    """These three sets check the MD5 sum of the authors' own files."""
    for module in (sets.cifar, sets.svhn, sets.flowers102):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: True)


@pytest.mark.parametrize("name", SETS)
def test_a_set_as_its_authors_ship_it(name, tmp_path, any_size):
    make, expected, second, as_files = SETS[name]
    make(tmp_path)
    found = divide(CONVERTERS[name](tmp_path, tmp_path), 0.2, seed=0)
    splits, _ = locate(found, tmp_path)
    assert {split: sorted(r.label for r in part.found) for split, part in splits.items()} == {
        split: sorted(labels) for split, labels in expected.items()
    }
    assert not any(part.missing for part in splits.values())
    for record in {record for part in splits.values() for record in part.found}:
        assert as_files != record.path.startswith("pictures/")
        with open_video(tmp_path / record.path) as picture:
            assert picture.frames([0]).shape[-1] == 3
    assert second is None or found.classes[1] == second


def test_every_set_of_the_catalogue_is_tested():
    assert set(SETS) == DOWNLOADABLE


def test_pixels_of_sets_without_files_survive(tmp_path, any_size):
    _cifar10(tmp_path)
    first = CONVERTERS["cifar10"](tmp_path, tmp_path / "png").splits["train"][0]
    with open_video(tmp_path / "png" / first.path) as picture:
        assert np.array_equal(picture.frames([0])[0], PIXELS[0])


def test_sets_of_one_folder_keep_their_pictures_apart(tmp_path, any_size):
    _cifar10(tmp_path)
    _cifar100(tmp_path)
    paths = [CONVERTERS[name](tmp_path, tmp_path).splits["train"][0].path for name in ("cifar10", "cifar100")]
    assert paths == ["pictures/cifar10/train/000000.png", "pictures/cifar100/train/000000.png"]


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_is_not_there_is_one_line(name, tmp_path):
    remedy = "unpack it there by hand" if name == "cars" else "--download fetches it"
    with pytest.raises(UserError, match=f"{name}: torchvision cannot read it in .*{remedy}") as caught:
        CONVERTERS[name](tmp_path, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file"), [("mnist", "MNIST/raw/train-images-idx3-ubyte"), ("svhn", "train_32x32.mat")]
)
def test_a_damaged_file_of_a_set_is_one_line(name, file, tmp_path, any_size):
    SETS[name][0](tmp_path)
    (tmp_path / file).write_bytes(b"damaged")
    with pytest.raises(UserError, match=f"{name}: torchvision cannot read it") as caught:
        CONVERTERS[name](tmp_path, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(sets.cifar, "download_and_extract_archive", offline)
    with pytest.raises(UserError, match="cifar10: .*no route to host.*unpack it there by hand"):
        CONVERTERS["cifar10"](tmp_path, tmp_path, download=True)

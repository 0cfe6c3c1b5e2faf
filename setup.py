import re
import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PACKAGE = (ROOT / "videoadapt" / "__init__.py").read_text(encoding="utf-8")
DATASETS = runpy.run_path(str(ROOT / "videoadapt" / "packaged.py"))["DATASETS"]
DOCS = ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.29"]


class BuildWithData(build_py):
    """Configs and class names stand at the top of a clone; an installed package has them inside."""

    def run(self):
        if not self.editable_mode:  # what an earlier build left would travel along
            shutil.rmtree(Path(self.build_lib, "videoadapt"), ignore_errors=True)
        super().run()
        if not self.editable_mode:
            lists = ["README.md", *(f"{name}/classes.txt" for name in DATASETS)]  # not those that a user has made
            for path in [*ROOT.glob("configs/*/*.yaml"), *(ROOT / "data_lists" / name for name in lists)]:
                target = Path(self.build_lib, "videoadapt", path.relative_to(ROOT))
                self.mkpath(str(target.parent))
                self.copy_file(str(path), str(target))


setup(
    name="videoadapt",
    version=re.search(r'^__version__ = "(.+)"', PACKAGE, re.MULTILINE).group(1),
    description="Adapt pretrained image models to video by training a few million parameters",
    license="Apache-2.0",
    python_requires=">=3.10",
    # Said, though it is the default: editable installs are then a plain path, which works in the clone's parent too.
    package_dir={"": "."},
    packages=find_packages(include=["videoadapt", "videoadapt.*"]),
    package_data={"videoadapt": ["py.typed", "**/*.pyi", "weights/*.safetensors", "report/templates/*.html"]},
    cmdclass={"build_py": BuildWithData},
    entry_points={"console_scripts": ["videoadapt = videoadapt.__main__:main"]},
    install_requires=[
        "torch>=2.7",
        "torchvision>=0.22",
        "timm>=1.0.21",
        "open_clip_torch>=2.29",
        "decord>=0.6; platform_machine == 'x86_64' or platform_machine == 'AMD64'",
        "av>=17.1",
        "pytorchvideo>=0.1.5",
        "einops>=0.7",
        "tensorboard>=2.14",
        "pydantic>=2.7",
        "PyYAML>=6.0",
        "safetensors>=0.4.3",
        "fsspec>=2023.6",
        "fvcore>=0.1.5.post20221221",
        "tqdm>=4.65",
        "numpy>=1.26",
        "lazy_loader>=0.4",
        "shtab>=1.9.3",
        "matplotlib>=3.7",
        "plotly>=5.18",
        "jinja2>=3.1",
        "pillow>=11.3",
        "scikit-learn>=1.3",
        "joblib>=1.3",
        "pebble>=5.0.3",
    ],
    extras_require={
        "torchcodec": ["torchcodec>=0.7"],
        "webdataset": ["webdataset>=0.2.96"],
        "onnx": ["onnx>=1.17", "onnxscript>=0.6.2", "onnxruntime>=1.18"],
        "hub": ["huggingface_hub>=0.23"],
        "docs": DOCS,
        "dev": [
            *DOCS,
            "mypy>=1.11",
            "types-PyYAML",
            "setuptools>=77",
            "wheel",
            "torchcodec>=0.12; platform_system == 'Linux' and platform_machine == 'x86_64'",
            "webdataset>=0.2.96",
            "onnx>=1.17",
            "onnxscript>=0.6.2",
            "onnxruntime>=1.18",
            "pytest>=9",
            "pytest-xdist>=3.7",
            "filelock>=3.12",
            "hypothesis>=6.100",
            "h5py>=3.10",
            "ruff==0.17.5",
        ],
    },
)

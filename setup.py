import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = (Path(__file__).parent / "videoadapt" / "__init__.py").read_text(encoding="utf-8")

setup(
    name="videoadapt",
    version=re.search(r'^__version__ = "(.+)"', PACKAGE, re.MULTILINE).group(1),
    description="Adapt pretrained image models to video by training a few million parameters",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["videoadapt", "videoadapt.*"]),
    package_data={"videoadapt": ["weights/*.safetensors", "report/templates/*.html"]},
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "timm>=1.0.15",
        "open_clip_torch>=2.26",
        "decord>=0.6; platform_machine == 'x86_64' or platform_machine == 'AMD64'",
        "av>=14",
        "pytorchvideo>=0.1.5",
        "einops>=0.7",
        "tensorboard>=2.14",
        "pydantic>=2.6",
        "PyYAML>=6.0",
        "safetensors>=0.4.3",
        "fsspec>=2023.6",
        "fvcore>=0.1.5",
        "tqdm>=4.65",
        "numpy>=1.26",
        "matplotlib>=3.7",
        "plotly>=5.18",
        "jinja2>=3.1",
        "pillow>=10",
        "scikit-learn>=1.3",
        "joblib>=1.3",
        "pebble>=5.0",
    ],
    extras_require={
        "torchcodec": ["torchcodec>=0.7"],
        "webdataset": ["webdataset>=0.2.90"],
        "onnx": ["onnx>=1.16", "onnxscript>=0.2", "onnxruntime>=1.18"],
        "hub": ["huggingface_hub>=0.23"],
        "dev": [
            "webdataset>=0.2.90",
            "onnx>=1.16",
            "onnxscript>=0.2",
            "onnxruntime>=1.18",
            "pytest>=9",
            "pytest-xdist>=3.6",
            "filelock>=3.12",
            "hypothesis>=6.100",
            "h5py>=3.10",
            "ruff==0.17.5",
        ],
    },
)

"""Packaging of bert_tf; tools are configured in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "bert_tf/__init__.py").read_text()).group(1)

EXTRAS = {
  # Its own environment: Beam wants an older protobuf than TensorFlow takes by itself.
  "beam": ["apache-beam>=2.60"],
  "gpu": ["tensorflow[and-cuda]>=2.20,<2.21"],
  "litert": ["ai-edge-litert>=2.0"],
  "serving": [
    "aiohttp>=3.9",
    "grpcio>=1.60",
    "prometheus_client>=0.20",
    "tensorflow-serving-api>=2.20,<2.21",
  ],
  "wandb": ["wandb>=0.17"],
  "test": ["pytest>=8", "pytest-xdist>=3.5", "hypothesis>=6", "ruff>=0.8"],
}

setup(
  name="bert_tf",
  version=VERSION,
  description="BERT on TensorFlow and Keras 3, drop-in for google-research/bert",
  long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.10,<3.13",
  packages=find_packages(include=["bert_tf", "bert_tf.*"]),
  package_data={"bert_tf.serving": ["page.html"]},
  install_requires=[
    # tf-models-official has no release for TensorFlow 2.21.
    "tensorflow>=2.20,<2.21",
    "tensorflow-text>=2.20,<2.21",
    "tf-models-official>=2.20,<2.21",
    "keras>=3.10,<4",
    "keras-nlp>=0.20",
    "absl-py>=1.4",
    "google-crc32c>=1.5",
    "h5py>=3.10",
    "huggingface_hub>=0.30",
    "matplotlib>=3.8",
    "ml_dtypes>=0.4",
    "numpy>=1.26",
    "protobuf>=5",
    "safetensors>=0.4",
    "scikit-learn>=1.4",
    "scipy>=1.11",
    "seqeval>=1.2.2",
    "tensorboard>=2.20,<2.21",
    "tqdm>=4.66",
  ],
  extras_require=EXTRAS,
)

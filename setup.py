"""Packaging of bert_tf; tools are configured in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "bert_tf/__init__.py").read_text()).group(1)

EXTRAS = {
  # Its own environment: Beam wants an older protobuf than TensorFlow takes by itself.
  "beam": ["apache-beam>=2.60"],
  # Words of Chinese text, for create_pretraining_data.py --segmenter=jieba.
  "chinese": ["jieba>=0.42"],
  "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.5", "mkdocstrings[python]>=0.27"],
  "gpu": ["tensorflow[and-cuda]>=2.20,<2.22"],
  "litert": ["ai-edge-litert>=2.0"],
  # Compared with by tests and benchmarks only; it has no release for TensorFlow 2.21.
  # (Extras have hyphens: older releases of pip do not find one with an underscore.)
  "model-garden": ["tf-models-official>=2.20,<2.21", "tensorflow<2.21"],
  "search": ["optuna>=4,<5"],
  "serving": [
    "aiohttp>=3.9",
    "grpcio>=1.60",
    "prometheus_client>=0.20",
    "tensorflow-serving-api>=2.20,<2.22",
  ],
  "wandb": ["wandb>=0.17"],
  "test": [
    "hypothesis>=6",
    "ipykernel>=6",
    "mypy>=1.15",
    "nbclient>=0.8",
    "pandas>=2",
    "pytest>=8",
    "pytest-xdist>=3.5",
    "ruff>=0.8",
    "setuptools>=68",
    "wheel>=0.40",
  ],
}

CLASSIFIERS = [
  "Development Status :: 4 - Beta",
  "Environment :: Console",
  "Intended Audience :: Developers",
  "Intended Audience :: Education",
  "Intended Audience :: Science/Research",
  "Operating System :: MacOS",
  "Operating System :: POSIX :: Linux",
  "Programming Language :: Python :: 3",
  "Programming Language :: Python :: 3 :: Only",
  "Programming Language :: Python :: 3.10",
  "Programming Language :: Python :: 3.11",
  "Programming Language :: Python :: 3.12",
  "Programming Language :: Python :: 3.13",
  "Topic :: Scientific/Engineering :: Artificial Intelligence",
  "Topic :: Text Processing :: Linguistic",
  "Typing :: Typed",
]

setup(
  name="bert_tf",
  version=VERSION,
  description="BERT on TensorFlow and Keras 3, drop-in for google-research/bert",
  long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  license_files=["LICENSE"],
  keywords="bert tensorflow keras nlp transformer language-model",
  classifiers=CLASSIFIERS,
  project_urls={
    "Original": "https://github.com/google-research/bert",
    "Paper": "https://arxiv.org/abs/1810.04805",
  },
  python_requires=">=3.10,<3.14",
  packages=find_packages(include=["bert_tf", "bert_tf.*"]),
  package_data={
    "bert_tf": ["py.typed"],
    "bert_tf.export": ["serving_files/*"],
    "bert_tf.serving": ["page.html", "favicon.svg"],
  },
  entry_points={"console_scripts": ["bert-tf = bert_tf.__main__:console"]},
  install_requires=[
    "tensorflow>=2.20,<2.22",
    "tensorflow-text>=2.20,<2.22",
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
    # Named, since TensorFlow 2.21 no longer brings what tf.summary writes with.
    "tensorboard>=2.20,<3",
    "tqdm>=4.66",
  ],
  extras_require=EXTRAS,
)

"""The command `doctor`: what is installed, what is missing, and how to get it."""

import importlib.metadata
import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from bijecta import __version__
from bijecta.cli.console import show_json, show_table
from bijecta.functional import kernels
from bijecta.functional.kernels.dispatch import triton_status

OPTIONAL = {
    "pyarrow": ("data", "CSV and Parquet files"),
    "h5py": ("data", "HDF5 files"),
    "matplotlib": ("plots", "pictures and reports"),
    "rich": ("cli", "the command line"),
    "typer": ("cli", "the command line"),
    "streamlit": ("app", "the Lab"),
    "sklearn": ("sklearn", "estimators"),
    "onnx": ("onnx", "export to ONNX"),
    "onnxruntime": ("onnx", "running ONNX files"),
    "fastapi": ("serve", "the service"),
    "uvicorn": ("serve", "the service"),
    "optuna": ("tune", "tuning"),
    "huggingface_hub": ("hub", "model hubs"),
    "tensorboard": ("track", "training curves in TensorBoard"),
    "sbi": ("inference", "simulation-based inference"),
    "uproot": ("hep", "ROOT files"),
    "vegas": ("hep", "integration"),
    "pythia8mc": ("pythia", "simulated collisions"),
}
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where the name on the index is another


def run_doctor(*, json: bool) -> None:
    """Print the state of the installation."""
    facts = {**_system(), **_machine()}
    packages = {name: _package(name) for name in OPTIONAL}
    if json:
        show_json({**facts, "packages": packages})
        return
    rows = [(name, str(value)) for name, value in facts.items()]
    rows += [(name, version or _cure(name)) for name, version in packages.items()]
    show_table(("what", "found"), rows)


def _system() -> dict[str, Any]:
    return {
        "bijecta": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": importlib.metadata.version("numpy"),
        "safetensors": importlib.metadata.version("safetensors"),
        "platform": platform.platform(),
    }


def _machine() -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "kernels": kernels.status(),
        "gpu kernels": triton_status(torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")),
        "folder": f"{Path.cwd()} ({'writable' if os.access(Path.cwd(), os.W_OK) else 'NOT writable: use --out'})",
    }


def _package(name: str) -> str | None:
    return importlib.metadata.version(DISTRIBUTIONS.get(name, name)) if find_spec(name) else None


def _cure(name: str) -> str:
    extra, purpose = OPTIONAL[name]
    return f'missing, needed for {purpose}: pip install "bijecta[{extra}]"'

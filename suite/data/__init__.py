"""Data sets: real samples that models are fed."""

from __future__ import annotations

from pathlib import Path

from suite.data import arrays, imagenet
from suite.errors import UsageError
from suite.spec import Dataset

_FOLDER = "imagenet:"


def open_dataset(text: str) -> Dataset:
    """The data set that `--dataset` names: FILE.npz or imagenet:DIR."""
    if text.startswith(_FOLDER) and text != _FOLDER:
        return imagenet.load(Path(text.removeprefix(_FOLDER)).expanduser())
    if text.endswith(".npz"):
        return arrays.load(Path(text).expanduser())
    raise UsageError(
        f"--dataset {text!r} is not understood: give FILE.npz ('images' as the model takes them, and "
        "'labels'), or imagenet:DIR (class folders, or photos with a labels.txt)"
    )

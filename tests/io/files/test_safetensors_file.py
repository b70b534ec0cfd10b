"""Safetensors files are read back exactly, and nothing else is taken for one."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.files.safetensors_file import read_safetensors, write_safetensors

TENSORS = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "transposed": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "steps": np.array(7, dtype=np.int64),
    "empty": np.zeros((0, 3), dtype=np.float32),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def _refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_safetensors(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_tensors_and_texts_read_back(path: Path) -> None:
    write_safetensors(path, TENSORS, {"recipe": '{"größe": 1}'})
    tensors, metadata = read_safetensors(path)
    assert metadata == {"recipe": '{"größe": 1}'}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, TENSORS[name])
        assert tensor.shape == TENSORS[name].shape
        assert tensor.dtype == TENSORS[name].dtype
        assert tensor.flags.writeable
    assert load_file(path).keys() == TENSORS.keys()


def test_file_without_texts_has_none(path: Path) -> None:
    write_safetensors(path, TENSORS, {})
    assert read_safetensors(path)[1] == {}


def test_text_file_is_refused(path: Path) -> None:
    path.write_text("These are not the weights that you are looking for.")
    assert "not a safetensors file" in _refusal(path)


def test_empty_file_is_refused(path: Path) -> None:
    path.write_bytes(b"")
    assert "is empty" in _refusal(path)


def test_missing_file_is_named(path: Path) -> None:
    assert "check its name" in _refusal(path)


def test_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in _refusal(tmp_path)


def test_file_that_may_not_be_read_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_safetensors(path, TENSORS, {})

    def deny(self: Path, *args: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", deny)
    assert "permission denied" in _refusal(path)


def test_pickle_is_never_opened(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [1.0] * 100}))
    assert "pickle" in _refusal(path)


def test_zipped_pickle_is_never_opened(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert "pickle" in _refusal(path)


def test_every_truncation_is_refused(path: Path) -> None:
    write_safetensors(path, TENSORS, {"key": "value"})
    content = path.read_bytes()
    for length in range(1, len(content), 7):
        path.write_bytes(content[:length])
        _refusal(path)


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**40, 2**64 - 1])
def test_header_length_that_lies_is_refused(path: Path, length: int) -> None:
    write_safetensors(path, TENSORS, {})
    content = path.read_bytes()
    path.write_bytes(length.to_bytes(8, "little") + content[8:])
    _refusal(path)


def test_huge_header_is_refused_before_it_is_parsed(path: Path) -> None:
    header = b"{" + b" " * (11 * 2**20) + b"}"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "damaged" in _refusal(path)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**63]}},
        {"a": {"dtype": "PYTHON", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}},
        {"__metadata__": {"a": 1}},
        {"__metadata__": []},
        {"a": None},
        [],
    ],
)
def test_header_that_makes_no_sense_is_refused(path: Path, header: object) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 4)
    _refusal(path)


def test_deeply_nested_header_is_refused(path: Path) -> None:
    text = b'{"a":' + b"[" * 100_000
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    _refusal(path)


def test_file_above_the_limit_is_refused(path: Path) -> None:
    write_safetensors(path, TENSORS, {})
    with pytest.raises(InputError, match="larger than"):
        read_safetensors(path, max_bytes=50)


def test_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_safetensors(path, TENSORS, {"version": "old"})

    def fill_disk(self: Path, content: bytes) -> None:
        with self.open("wb") as stream:
            stream.write(content[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(InputError, match="disk is full"):
        write_safetensors(path, TENSORS, {"version": "new"})
    assert read_safetensors(path)[1] == {"version": "old"}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580, 0x10280])
def test_header_whose_length_looks_like_a_pickle_is_read(path: Path, length: int) -> None:
    """One header in two thousand is as long as the first two bytes of a pickle say."""
    write_safetensors(path, TENSORS, {"text": ""})
    short = int.from_bytes(path.read_bytes()[:8], "little")
    write_safetensors(path, TENSORS, {"text": "x" * (length - short)})
    assert path.read_bytes()[:8] == length.to_bytes(8, "little")
    assert read_safetensors(path)[0].keys() == TENSORS.keys()

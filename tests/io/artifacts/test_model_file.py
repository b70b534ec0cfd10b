"""Model files give back the same model, and nothing else is ever taken for one."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.images.intensity import IntensityRange
from napari_ssim_defects.core.model.calibration import Calibration
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.networks.autoencoder import Autoencoder
from napari_ssim_defects.io.artifacts.model_file import FORMAT_VERSION, read_model, write_model

Header = dict[str, Any]
Tensors = dict[str, np.ndarray[Any, Any]]


def _refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_model(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.fixture
def altered(model_path: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy the model file with changed metadata, header or tensors."""

    def alter(
        header: Callable[[Header], object] | None = None,
        tensors: Callable[[Tensors], object] | None = None,
        **metadata: str | None,
    ) -> Path:
        weights = load_file(model_path)
        with safe_open(model_path, framework="np") as content:
            texts = dict(content.metadata())
        if header is not None:
            fields = json.loads(texts["model"])
            header(fields)
            texts["model"] = json.dumps(fields)
        if tensors is not None:
            tensors(weights)
        for name, text in metadata.items():
            texts.pop(name)
            if text is not None:
                texts[name] = text
        path = tmp_path / "altered.safetensors"
        save_file(weights, path, texts)
        return path

    return alter


def test_model_reads_back_as_it_was(grey_model: DefectModel, model_path: Path) -> None:
    read = DefectModel.load(model_path)
    assert read.config == grey_model.config
    assert (read.channels, read.channel_axis) == (1, None)
    assert read.intensity == grey_model.intensity
    assert read.history == grey_model.history
    assert len(read.history) > 0
    assert read.provenance == grey_model.provenance
    assert read.provenance["training images"] == "'good 0', 'good 1'"
    np.testing.assert_array_equal(read.calibration.tail, grey_model.calibration.tail)
    np.testing.assert_array_equal(read.calibration.thresholds, grey_model.calibration.thresholds)
    assert read.calibration.pixels == grey_model.calibration.pixels
    assert read.calibration.held_out == grey_model.calibration.held_out
    assert read.auto_threshold == grey_model.auto_threshold
    expected = grey_model.network.state_dict()
    assert read.network.state_dict().keys() == expected.keys()
    for name, weights in read.network.state_dict().items():
        assert torch.equal(weights, expected[name])
    assert not read.network.training


def test_model_that_was_read_gives_the_same_residuals_bit_by_bit(
    grey_model: DefectModel, model_path: Path, material: Callable[..., Any]
) -> None:
    image = material(5, spoilt=True)
    read = DefectModel.load(model_path)
    np.testing.assert_array_equal(
        read.residual(image, device="cpu"), grey_model.residual(image, device="cpu")
    )


def test_model_of_rgb_images_reads_back(rgb_model: DefectModel, tmp_path: Path) -> None:
    rgb_model.save(tmp_path / "rgb.safetensors")
    read = DefectModel.load(tmp_path / "rgb.safetensors")
    assert (read.channels, read.channel_axis) == (3, -1)
    assert read.intensity == rgb_model.intensity
    assert read.intensity.contrast == rgb_model.intensity.contrast
    assert len(read.intensity.contrast) == 3


@pytest.mark.parametrize("preset", ["paper", "best"])
def test_every_value_of_a_preset_is_kept(preset: str, tmp_path: Path) -> None:
    config = TrainingConfig.preset(preset, system="l2", latent_dimension=4, seed=2**40)
    model = DefectModel(
        config,
        Autoencoder(config.patch_size, 2, config.latent_dimension, config.batch_norm),
        channels=2,
        channel_axis=-3,
        intensity=IntensityRange((0.1, -1e6), (0.2, 1e6)),
        calibration=Calibration.from_residuals(
            [np.linspace(0, 1, 100, dtype=np.float32)], held_out=True
        ),
    )
    model.save(tmp_path / "model.safetensors")
    read = DefectModel.load(tmp_path / "model.safetensors")
    assert read.config == config
    assert read.intensity == model.intensity
    assert read.history == ()


def test_names_of_training_images_may_hold_any_bytes(
    grey_model: DefectModel, tmp_path: Path
) -> None:
    """Names that are no valid text come from file systems; the training must not be lost."""
    path = tmp_path / "model.safetensors"
    model = replace(grey_model, provenance={"training images": "'weave \udcff \ud83e µ\0.tif'"})
    model.save(path)
    assert "weave" in DefectModel.load(path).provenance["training images"]


def test_failed_write_leaves_the_old_model_and_nothing_else(
    grey_model: DefectModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    grey_model.save(path)
    before = path.read_bytes()

    def fail(self: Path, content: bytes) -> None:
        with self.open("wb") as stream:
            stream.write(content[:1000])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(InputError, match=r"model\.safetensors.*disk is full"):
        write_model(grey_model, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_model_cannot_be_saved_over_a_folder(grey_model: DefectModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a folder"):
        grey_model.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    assert "check its name" in _refusal(path)
    path.write_bytes(b"")
    assert "is empty" in _refusal(path)
    path.write_text("No weights here, only words.")
    assert "not a safetensors file" in _refusal(path)
    path.write_bytes(pickle.dumps({"network": [1.0] * 100}))
    assert "pickle" in _refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert "pickle" in _refusal(path)
    _refusal(tmp_path)


def test_nothing_is_executed_from_a_pickle(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    path = tmp_path / "model.safetensors"
    torch.save({"network": Bomb()}, path)
    _refusal(path)
    path.write_bytes(pickle.dumps(Bomb()))
    _refusal(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99999])
def test_model_that_is_cut_off_is_refused(
    fraction: float, model_path: Path, tmp_path: Path
) -> None:
    content = model_path.read_bytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(content[: max(1, int(fraction * len(content)))])
    _refusal(path)


@pytest.mark.parametrize("change", [-8, -1, 1, 8, 10**6, 2**50])
def test_header_length_that_lies_is_refused(change: int, model_path: Path, tmp_path: Path) -> None:
    content = model_path.read_bytes()
    length = int.from_bytes(content[:8], "little") + change
    path = tmp_path / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + content[8:])
    _refusal(path)


def test_weights_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"layer.weight": np.zeros((3, 3), np.float32)}, path)
    assert "not a model of this program" in _refusal(path)
    save_file({"layer.weight": np.zeros((3, 3), np.float32)}, path, {"format": "pt"})
    assert "not a model of this program" in _refusal(path)


def test_model_of_a_newer_version_says_to_update(altered: Callable[..., Path]) -> None:
    message = _refusal(altered(format_version=str(FORMAT_VERSION + 1)))
    assert "newer version" in message
    assert "update" in message


@pytest.mark.parametrize("version", [None, "", "0", "-1", "one", "1.5", "9" * 5000])
def test_senseless_format_version_is_refused(
    version: str | None, altered: Callable[..., Path]
) -> None:
    _refusal(altered(format_version=version))


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "words",
        "null",
        "[]",
        "{}",
        '{"config": {}}',
        "[" * 100_000,
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        "9" * 10_000,
    ],
    ids=lambda text: str(text)[:12],
)
def test_header_that_is_no_recipe_is_refused(
    text: str | None, altered: Callable[..., Path]
) -> None:
    assert "damaged" in _refusal(altered(model=text))


@pytest.mark.parametrize(
    "name",
    ["config", "channels", "channel_axis", "intensity_low", "scorings", "threshold", "history"],
)
def test_missing_field_is_refused(name: str, altered: Callable[..., Path]) -> None:
    assert "damaged" in _refusal(altered(lambda header: header.pop(name)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("surprise", 1),
        ("channels", 0),
        ("channels", 2),
        ("channels", 10**9),
        ("channel_axis", 0),
        ("channel_axis", -1000),
        ("intensity_low", []),
        ("intensity_low", [0.0, 0.0]),
        ("intensity_low", [float("nan")]),
        ("intensity_low", [float("-inf")]),
        ("intensity_low", [1e300]),
        ("intensity_low", [-1e300]),
        ("intensity_high", [1e300]),
        ("intensity_high", [0.0]),
        ("scorings", []),
        ("scorings", [{"residual": {"kind": "ssim"}, "pixels": 0, "held_out": True}]),
        ("scorings", [{"residual": {"kind": "ssim"}, "pixels": 9, "held_out": "perhaps"}]),
        ("scorings", [{"residual": {"kind": "squared_error"}, "pixels": 9, "held_out": True}]),
        ("threshold", {"kind": "guess"}),
        ("threshold", {"kind": "false_positive_rate", "rate": 2}),
        ("corrections", [{"verdict": "perhaps", "level": 1.0, "box": [0, 0, 1, 1]}]),
        ("corrections", [{"verdict": "good", "level": 1e300, "box": [0, 0, 1, 1]}]),
        ("history", [[1, 2.0]]),
        ("history", [[1, float("nan"), 0.1, None]]),
        ("provenance", {"torch": {"nested": 1}}),
        ("config", None),
    ],
)
def test_senseless_field_is_refused(name: str, value: object, altered: Callable[..., Path]) -> None:
    assert "damaged" in _refusal(altered(lambda header: header.update({name: value})))


def test_intensities_that_float32_cannot_tell_apart_are_refused(
    altered: Callable[..., Path],
) -> None:
    values = {"intensity_low": [1.0], "intensity_high": [1.0 + 1e-12]}
    assert "damaged" in _refusal(altered(lambda header: header.update(values)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("surprise", 1),
        ("self", 1),
        ("system", "magic"),
        ("patch_size", 17),
        ("patch_size", 2**40),
        ("patch_size", 32),
        ("patch_size", 1024),
        ("latent_dimension", 65536),
        ("latent_dimension", 10**12),
        ("latent_dimension", -1),
        ("batch_norm", False),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("stride", 0),
        ("ssim", {"window_size": 4}),
        ("ssim", {"window": "__import__('os')"}),
        ("residual", {"kind": "unknown"}),
        ("residual", {"kind": "ssim", "ssim": []}),
        ("seed", -1),
        ("intensity_percentiles", [99, 1]),
    ],
)
def test_absurd_setting_is_refused(name: str, value: object, altered: Callable[..., Path]) -> None:
    assert "damaged" in _refusal(altered(lambda header: header["config"].update({name: value})))


def test_no_memory_is_taken_for_a_network_that_the_file_does_not_hold(
    altered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1024 pixel patches with 65536 latent values are 17 billion weights."""
    devices = []
    original = Autoencoder.__init__

    def remember(self: Autoencoder, *args: Any) -> None:
        original(self, *args)
        devices.extend(parameter.device.type for parameter in self.parameters())

    monkeypatch.setattr(Autoencoder, "__init__", remember)
    huge = {"patch_size": 1024, "latent_dimension": 65536}
    _refusal(altered(lambda header: header["config"].update(huge)))
    assert set(devices) == {"meta"}


WEIGHTS = "network.encoder.0.weight"


def _filled(name: str, value: float) -> Callable[[Tensors], object]:
    def fill(tensors: Tensors) -> None:
        tensors[name] = tensors[name].copy()
        tensors[name].flat[-1] = value

    return fill


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop(WEIGHTS),
        lambda tensors: tensors.update({"network.surprise": np.zeros(3, np.float32)}),
        lambda tensors: tensors.update({"surprise": np.zeros(3, np.float32)}),
        lambda tensors: tensors.update({WEIGHTS: tensors[WEIGHTS][..., :3]}),
        lambda tensors: tensors.update({WEIGHTS: tensors[WEIGHTS].astype(np.float64)}),
        lambda tensors: tensors.update({WEIGHTS: tensors[WEIGHTS].astype(np.float16)}),
        lambda tensors: tensors.update({WEIGHTS: tensors[WEIGHTS].view(np.uint32)}),
        _filled(WEIGHTS, float("nan")),
        _filled(WEIGHTS, float("inf")),
    ],
    ids=[
        "missing", "extra", "extra of another kind", "shape", "float64", "float16", "uint32",
        "nan", "inf",
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(
    change: Callable[[Tensors], object], altered: Callable[..., Path]
) -> None:
    assert "damaged" in _refusal(altered(tensors=change))


def _calibration(tail: Any, thresholds: Any) -> Callable[[Tensors], object]:
    values = {
        "calibration.ssim.tail": np.asarray(tail),
        "calibration.ssim.thresholds": np.asarray(thresholds),
    }
    return lambda tensors: tensors.update(values)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("calibration.ssim.tail"),
        lambda tensors: tensors.pop("calibration.ssim.thresholds"),
        lambda tensors: tensors.pop("calibration.squared_error.areas"),
        lambda tensors: tensors.update({"calibration.magic.tail": np.zeros(2)}),
        _filled("calibration.ssim.areas", 0.0),
        _filled("calibration.ssim.area_thresholds", 1e9),
        _filled("calibration.squared_error.area_thresholds", float("nan")),
        _filled("calibration.ssim.tail", float("nan")),
        _filled("calibration.ssim.thresholds", float("nan")),
        _filled("calibration.ssim.thresholds", float("inf")),
        _filled("calibration.ssim.thresholds", -1.0),
        _calibration([1.0, 0.0], [float("inf"), float("inf")]),
        _calibration([1.0, 0.0], [float("-inf"), 0.0]),
        _calibration([float("inf"), 0.0], [0.0, 1.0]),
        _calibration([0.0, 1.0], [0.0, 1.0]),
        _calibration([2.0, 0.0], [0.0, 1.0]),
        _calibration([1.0, -1.0], [0.0, 1.0]),
        _calibration([1.0, 0.5, 0.0], [0.0, 1.0]),
        _calibration([[1.0, 0.0]], [[0.0, 1.0]]),
        _calibration(1.0, 0.0),
        _calibration([1.0], [0.0]),
        _calibration(np.zeros(0), np.zeros(0)),
        _calibration([True, False], [0.0, 1.0]),
        _calibration([1, 0], [0, 1]),
    ],
)
def test_senseless_calibration_is_refused(
    change: Callable[[Tensors], object], altered: Callable[..., Path]
) -> None:
    assert "damaged" in _refusal(altered(tensors=change))


@pytest.mark.slow
def test_flipped_bytes_load_or_are_refused_and_nothing_else(
    model_path: Path, tmp_path: Path
) -> None:
    content = model_path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    path = tmp_path / "flipped.safetensors"
    rng = np.random.default_rng(0)
    refused = 0
    for attempt in range(150):
        flipped = bytearray(content)
        end = header if attempt % 3 else len(content)
        for position in rng.integers(end, size=rng.integers(1, 4)):
            flipped[position] ^= rng.integers(1, 256)
        path.write_bytes(flipped)
        try:
            read_model(path)
        except InputError as error:
            refused += 1
            assert str(path) in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 50

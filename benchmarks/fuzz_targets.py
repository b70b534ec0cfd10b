"""What `fuzz.py` tries: damaged files for every reader, and odd arguments for public functions.

A target takes a random generator and an empty folder, and tries one input. It returns normally or
raises `InputError`; anything else is a failure. It asserts what must hold of an answer.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import re
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import tomli_w
import torch
from PIL import Image
from safetensors.numpy import save

from napari_ssim_defects import DefectModel, TrainingConfig, segment, train
from napari_ssim_defects.core.evaluation.scores import evaluate
from napari_ssim_defects.core.images.intensity import IntensityRange
from napari_ssim_defects.core.model.calibration import Calibration
from napari_ssim_defects.core.model.thresholds import parse_threshold
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise
from napari_ssim_defects.core.ssim import ssim_map
from napari_ssim_defects.core.training.messages import TrainingCheckpoint
from napari_ssim_defects.io.artifacts.checkpoint_file import read_checkpoint, write_checkpoint
from napari_ssim_defects.io.artifacts.recipe import (
    DetectionRecipe,
    Recipe,
    TrainingRecipe,
    read_recipe,
    write_recipe,
)
from napari_ssim_defects.io.files.safetensors_file import read_safetensors
from napari_ssim_defects.io.files.spatial import SpatialMetadata
from napari_ssim_defects.io.images.image_file import find_images, open_image, read_image, read_mask
from napari_ssim_defects.io.writers.journal import JOURNAL_NAME, Journal
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff
from napari_ssim_defects.io.writers.ome_zarr import write_ome_zarr
from napari_ssim_defects.io.writers.tables import REGION_COLUMNS, write_csv

__all__ = ["TARGETS"]

Random = np.random.Generator
NUMBERS = [0, 1, 2, 3, 7, 8, 16, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63,
           2**64 - 1]  # fmt: skip
VALUES = [None, True, -1, 0, 1, 0.5, 1e308, 10**400, "", "x", "1", [], [1], {}, {"kind": "x"}, -1e9,
          float("nan"), float("inf"), 2**63, "\ud800", "\0"]  # fmt: skip


def damaged(random: Random, content: bytes) -> bytes:
    """Change a few bytes, cut, repeat or insert pieces; half of it near the beginning."""
    data = bytearray(content)
    for _ in range(random.integers(1, 6)):
        if not data:
            break
        reach = len(data) if random.random() < 0.5 else min(len(data), 600)
        place = int(random.integers(reach))
        match random.integers(6):
            case 0 | 1:
                data[place] = random.integers(256)
            case 2:
                size = int(random.choice([2, 4, 8]))
                number = NUMBERS[random.integers(len(NUMBERS))] % 2 ** (8 * size)
                data[place : place + size] = number.to_bytes(size, "little")
            case 3:
                del data[place : place + int(random.integers(1, 64))]
            case 4:
                data[place:place] = random.bytes(int(random.integers(1, 64)))
            case _:
                del data[int(random.integers(len(data))) :]
    return bytes(data)


def altered(random: Random, value: Any) -> Any:
    """Change one thing somewhere in what JSON holds."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = list(value)[random.integers(len(value))]
        changed = dict(value)
        match random.integers(8):
            case 0:
                del changed[key]
            case 1:
                changed[f"{key}x"] = changed.pop(key)
            case _:
                changed[key] = altered(random, value[key])
        return changed
    if isinstance(value, list) and value and random.random() < 0.7:
        place = int(random.integers(len(value)))
        return [*value[:place], altered(random, value[place]), *value[place + 1 :]]
    return VALUES[random.integers(len(VALUES))]


@cache
def model() -> DefectModel:
    """A model with random weights."""
    config = TrainingConfig(patch_size=16, latent_dimension=4, stride=8)
    network = Autoencoder.from_config(config, 1).eval()
    initialise(network, 0)
    scores = np.random.default_rng(0).random((40, 40), dtype=np.float32)
    return DefectModel(
        config, network, 1, None, IntensityRange((10.0,), (200.0,)),
        Calibration.from_residuals([scores], held_out=True),
    )  # fmt: skip


TINY = TrainingConfig(patch_size=16, latent_dimension=4, patches=8, epochs=1, batch_size=4,
                      stride=16)  # fmt: skip


@cache
def texture() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).random((24, 28), dtype=np.float32)


@cache
def contents(kind: str) -> tuple[bytes, ...]:
    """Valid files to begin with."""
    with tempfile.TemporaryDirectory() as folder:
        return _contents(kind, Path(folder))


def _contents(kind: str, folder: Path) -> tuple[bytes, ...]:
    if kind == "model":
        model().save(folder / "m")
        return ((folder / "m").read_bytes(),)
    if kind == "checkpoint":
        messages = train([texture()], TINY, device="cpu")
        state = [m.state for m in messages if isinstance(m, TrainingCheckpoint)][-1]
        write_checkpoint(state, folder / "c")
        return ((folder / "c").read_bytes(),)
    grey = (255 * texture()).astype(np.uint8)
    if kind == "tiff":
        stack = np.stack([grey, 255 - grey])
        variants: list[dict[str, Any]] = [
            {"data": grey}, {"data": stack, "imagej": True}, {"data": np.dstack([grey] * 3)},
            {"data": stack, "ome": True, "compression": "zlib"}, {"data": stack.astype(">u2")},
            {"data": texture(), "tile": (16, 16), "compression": "lzma"},
            {"data": stack, "bigtiff": True}, {"data": grey, "resolution": (10, 10)},
        ]  # fmt: skip
        files = []
        for variant in variants:
            tifffile.imwrite(folder / "t.tif", variant.pop("data"), **variant)
            files.append((folder / "t.tif").read_bytes())
        for codec in ("tiff_lzw", "jpeg", "packbits"):
            stream = io.BytesIO()
            Image.fromarray(grey).save(stream, "TIFF", compression=codec)
            files.append(stream.getvalue())
        return tuple(files)
    rasters = []
    for mode, suffix in [("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("I;16", "PNG"), ("1", "PNG"),
                         ("L", "JPEG"), ("RGB", "JPEG"), ("RGB", "BMP"), ("P", "BMP")]:  # fmt: skip
        stream = io.BytesIO()
        image = Image.fromarray(grey.astype(np.uint16)) if mode == "I;16" else Image.fromarray(grey)
        (image if mode == "I;16" else image.convert(mode)).save(stream, suffix)
        rasters.append(stream.getvalue())
    return tuple(rasters)


def one_of(random: Random, kind: str) -> bytes:
    files = contents(kind)
    return files[random.integers(len(files))]


def rebuilt(random: Random, content: bytes, texts: str) -> bytes:
    """Damage a safetensors file by its structure: header, JSON text, shapes and offsets."""
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    if random.random() < 0.6:
        fields = altered(random, json.loads(header["__metadata__"][texts]))
        header["__metadata__"][texts] = json.dumps(fields)
    elif random.random() < 0.5:
        header = altered(random, header)
    else:
        names = [name for name in header if name != "__metadata__"]
        first, second = (names[i] for i in random.integers(len(names), size=2))
        match random.integers(4):
            case 0:
                header[first]["shape"] = [int(random.choice([-1, 0, 1, 2**20, 2**40]))] * 2
            case 1:
                header[first]["data_offsets"] = header[second]["data_offsets"]
            case 2:
                header[first]["dtype"] = str(random.choice(["F64", "BF16", "I8", "F8_E4M3", "X"]))
            case _:
                body = random.bytes(len(body)) if random.random() < 0.5 else body[: len(body) // 2]
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + body


def a_model_file(random: Random, folder: Path) -> None:
    content = one_of(random, "model")
    path = folder / "model.safetensors"
    path.write_bytes((damaged if random.random() < 0.3 else
                      lambda r, c: rebuilt(r, c, "model"))(random, content))  # fmt: skip
    found = DefectModel.load(path)
    residual = found.residual(np.float32(150) * texture()[:16, :16], device="cpu")
    assert np.isfinite(residual).all(), "residual of a model that was read"
    assert np.isfinite(found.auto_threshold), "threshold of a model that was read"


def a_checkpoint(random: Random, folder: Path) -> None:
    content = one_of(random, "checkpoint")
    path = folder / "checkpoint.safetensors"
    path.write_bytes((damaged if random.random() < 0.3 else
                      lambda r, c: rebuilt(r, c, "checkpoint"))(random, content))  # fmt: skip
    state = read_checkpoint(path)
    for _ in train([texture()], TINY, device="cpu", state=state):
        pass


def a_safetensors_file(random: Random, folder: Path) -> None:
    path = folder / "any.safetensors"
    tensors = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(0, np.int8)}
    path.write_bytes(damaged(random, save(tensors, {"text": "value"})))
    for name, array in read_safetensors(path)[0].items():
        assert isinstance(name, str)
        assert array.nbytes <= 2**20, "more than the file holds"


DESCRIPTIONS = [
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image '
    'ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="28" SizeY="24" '
    'SizeZ="{n}" SizeC="{m}" SizeT="1" PhysicalSizeX="{m}"><TiffData IFD="{m}" PlaneCount="{n}">'
    '<UUID FileName="{f}">urn:uuid:0</UUID></TiffData></Pixels></Image></OME>',
    "ImageJ=1.11a\nimages={n}\nslices={m}\nframes={n}\nhyperstack=true\nspacing={m}\n",
    '{{"shape": [{n}, {m}, 28]}}',
    "{n}" * 50,
]


def a_described_tiff(random: Random) -> bytes:
    """A valid image with a description that lies."""
    numbers = [-1, 0, 1, 2, 1000, 10**7, 10**9, 10**12, "x", 1e999]
    text = DESCRIPTIONS[random.integers(len(DESCRIPTIONS))].format(
        n=numbers[random.integers(len(numbers))],
        m=numbers[random.integers(len(numbers))],
        f=random.choice(["", "other.tif", "/dev/zero", "../t.tif", "t.tif", "\\\\host\\share"]),
    )
    stream = io.BytesIO()
    tifffile.imwrite(stream, (255 * texture()).astype(np.uint8), description=text, metadata=None)
    return stream.getvalue()


@cache
def zeros(deflate: bool, megabytes: int) -> bytes:
    """Compress that many zeros without ever having them in memory."""
    encoder = zlib.compressobj() if deflate else lzma.LZMACompressor()
    parts = [encoder.compress(bytes(2**20)) for _ in range(megabytes)]
    return b"".join([*parts, encoder.flush()])


def a_bomb(random: Random) -> bytes:
    """A small image whose compressed pixels are endless."""
    deflate = random.random() < 0.7
    data = zeros(deflate, int(random.choice([1, 16, 512])))
    side = int(random.choice([1, 64, 5000, 2**31]))
    tags = [(256, side), (257, side), (258, 8), (259, 8 if deflate else 34925), (262, 1),
            (273, 122), (277, 1), (278, side), (279, len(data))]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + table + bytes(4) + data


def a_tiff(random: Random, folder: Path) -> None:
    kind = random.random()
    if kind < 0.75:
        content = damaged(random, one_of(random, "tiff"))
    else:
        content = a_described_tiff(random) if kind < 0.97 else a_bomb(random)
    path = folder / "image.tif"
    path.write_bytes(content)
    _an_image(random, path)


def a_raster(random: Random, folder: Path) -> None:
    path = folder / f"image.{random.choice(['png', 'jpg', 'bmp'])}"
    path.write_bytes(damaged(random, one_of(random, "raster")))
    _an_image(random, path)


def _an_image(random: Random, path: Path) -> None:
    match random.integers(3):
        case 0:
            read_mask(path, (24, 28))
        case 1:
            part = open_image(path).data
            if 0 not in part.shape:
                np.asarray(part[(0,) * (part.ndim - 1)])
        case _:
            image = read_image(path)
            assert image.data.ndim == len(image.spatial.axes)
            if image.data.size < 5000 and image.data.dtype.kind in "uif":
                residual = model().residual(image.data, device="cpu", stride=16)
                assert np.isfinite(residual).all(), "residual of an image that was read"


def a_journal(random: Random, folder: Path) -> None:
    record = {"image": "/a.png", "key": "k", "files": {"labels": ["a.tif"]}, "regions": 1,
              "defective_fraction": 0.5, "seconds": 1.0, "thumbnail": "",
              "rows": [dict.fromkeys(REGION_COLUMNS, 1)]}  # fmt: skip
    line = json.dumps(altered(random, record) if random.random() < 0.7 else record).encode()
    (folder / JOURNAL_NAME).write_bytes(damaged(random, line) if random.random() < 0.5 else line)
    journal = Journal(folder)
    write_csv(folder / "t.csv", journal.rows([Path("/a.png")]), REGION_COLUMNS)
    list(journal.entries([(Path("/a.png"), "a")]))
    if random.random() < 0.3:
        journal.add(Path("/a.png"), record)
        assert journal.find(Path("/a.png")) == record


NAMES = ["a.png", "ä ö.png", "[x].png", "a\nb.png", "-.png", "~", "~nobody", "*", "**", "?",
         "a.tif", "\x1b[2J.png", "x" * 250 + ".png", " .png", "..", ".", "a.zarr", "%s.png",
         "\udcff.png"]  # fmt: skip


def a_folder(random: Random, folder: Path) -> None:
    """Files, links in circles, pipes and folders under odd names, and patterns for them."""
    for _ in range(random.integers(1, 6)):
        path = folder / NAMES[random.integers(len(NAMES))]
        # What lies beside the folder may be large: searching all of it would count as a hang.
        target = folder / NAMES[random.integers(len(NAMES))].replace("..", "dots")
        try:
            match random.integers(5):
                case 0:
                    path.mkdir()
                case 1:
                    path.symlink_to(target)
                case 2:
                    os.mkfifo(path)
                case 3:
                    path.symlink_to(folder, target_is_directory=True)
                case _ if not path.is_symlink() and not path.exists():
                    path.write_bytes(one_of(random, "raster"))
        except OSError:
            continue
    parts = [NAMES[i] for i in random.integers(len(NAMES), size=random.integers(0, 4))]
    parts = [part for part in parts if part != ".."]
    for path in find_images([folder.joinpath(*parts)]):
        read_image(path)


def an_array(random: Random) -> Any:
    """An array of any shape, type and range; now and then something else."""
    if random.random() < 0.03:
        return VALUES[random.integers(len(VALUES))]
    shape = tuple(random.integers(0, 20, size=random.integers(0, 5)))
    if random.random() < 0.5:
        shape = tuple(random.integers(1, 40, size=2))
    dtypes = ["?", "u1", "i2", ">u2", "i8", "u8", "f2", "f4", ">f4", "f8", "c8", "O", "U3"]
    scale = 10.0 ** random.integers(-45, 40) if random.random() < 0.5 else 200.0
    array = np.asarray(random.random(shape) * scale)
    if array.size and random.random() < 0.2:
        array.flat[random.integers(array.size)] = random.choice([np.nan, np.inf, 1e300, -3e38])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        array = np.asarray(array.astype(dtypes[random.integers(len(dtypes))]))
    if random.random() < 0.1:
        return np.ma.masked_array(array, np.arange(array.size).reshape(shape) % 3 == 0)
    array.flags.writeable = random.random() < 0.5
    return array[..., ::-1] if array.ndim and random.random() < 0.3 else array


def a_value(random: Random, usual: list[Any]) -> Any:
    pool = usual if random.random() < 0.7 else VALUES
    return pool[random.integers(len(pool))]


def a_call(random: Random, folder: Path) -> None:
    """One public function with odd arguments."""
    array = an_array(random)
    match random.integers(8):
        case 0:
            labels = segment(
                array, a_value(random, [0.5, 100, 1e-30]), opening=a_value(random, [0, 1, 4, 9]),
                closing=a_value(random, [0, 3]), min_area=a_value(random, [0, 5, 10**30]),
                connectivity=a_value(random, [4, 8]), review_threshold=a_value(random, [None, 0.1]),
            )  # fmt: skip
            assert labels.shape == np.shape(array), "shape of the labels"
        case 1:
            residual = model().residual(
                array, stride=a_value(random, [None, 3, 8, 10**30]), device="cpu",
                channel_axis=a_value(random, [None, None, 0, -1]),
            )  # fmt: skip
            assert np.isfinite(residual).all(), "residual"
        case 2:
            assert np.isfinite(model().reconstruct(array, device="cpu")).all(), "reconstruction"
        case 3:
            found = Calibration.from_residuals([array, an_array(random)], held_out=True)
            assert np.isfinite(found.threshold(a_value(random, [0, 0.5, 1]))), "threshold"
        case 4:
            mask = random.random(np.shape(array)) < 0.3
            area = evaluate([array], [mask]).aupro
            assert area is None or np.isfinite(area), "score"
        case 5:
            write_ome_tiff(
                folder / "o.tif", array, axes=random.choice(["", "YX", "CYX", "YXS", "Q"]),
                pixel_size=random.random(random.integers(0, 4)).tolist(), unit="um",
            )  # fmt: skip
            read_image(folder / "o.tif")
        case 6:
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "buifc":
                return
            array = np.array(array).astype(array.dtype.newbyteorder("="))
            if random.random() < 0.9:
                array = array.reshape((1,) * max(0, 4 - array.ndim) + array.shape)
            try:
                x, y = torch.as_tensor(array), torch.as_tensor(np.flip(array).copy())
            except TypeError:  # a number that PyTorch does not know
                return
            scale = float(10.0 ** random.integers(-120, 120))
            similar = ssim_map(
                x, y, data_range=a_value(random, [1.0, 255, scale]),
                window_size=a_value(random, [3, 7, 11, 255]),
                window=a_value(random, ["uniform", "gaussian"]), sigma=a_value(random, [1.5, 0.01]),
                border=a_value(random, ["same", "valid"]),
            )  # fmt: skip
            assert bool(torch.isfinite(similar).all()), "SSIM"
            assert not similar.numel() or float(similar.abs().max()) < 1.001, "range of SSIM"
        case _:
            parse_threshold(str(a_value(random, ["fpr:0.1", "region:3", "1e3", ":", "quantile:1"])))


def a_training(random: Random, folder: Path) -> None:
    """A training of a few steps on odd images, masks and recipes."""
    changes = altered(random, TINY.model_dump()) if random.random() < 0.5 else {}
    values = {**TINY.model_dump(), **changes} if isinstance(changes, dict) else {}
    config = TrainingConfig(**{str(name): value for name, value in values.items()})
    if config.patches * config.epochs > 100 or config.minutes or config.patch_size > 64:
        return  # right, but long
    if config.latent_dimension > 4096 or config.system == "fmae":
        return
    masks = [an_array(random)] if random.random() < 0.2 else None
    *_, last = train([an_array(random)], config, masks=masks, device="cpu")
    assert np.isfinite(last.model.auto_threshold), "threshold of a model that was trained"


TEXTS = ["..", "../../x", "/", "~", "~nobody/x", "/dev/zero", "\0", "*", "[", "**/*", "x" * 5000,
         "\\\\host\\share\\x", "\ud800", "auto", "fpr:1e-400", "region:1e30"]  # fmt: skip


@cache
def recipe() -> dict[str, Any]:
    """All that a recipe can say."""
    detection = DetectionRecipe(images=(Path("/parts"),), folder=Path("/out"), unit="um",
                                pixel_size=(0.5, 0.5), report=True, stride=3)  # fmt: skip
    training = TrainingRecipe(images=(Path("/good"),), config=TINY, masks=Path("/masks"))
    found = Recipe(model=Path("/m.safetensors"), training=training, detection=detection)
    settings = found.model_dump(mode="json", exclude_none=True)
    return {"schema": "napari-ssim-defects recipe", "version": 1, **settings}


def a_recipe(random: Random, folder: Path) -> None:
    """A recipe with other values, other text, or tables in tables."""
    table = recipe()
    for _ in range(random.integers(1, 4)):
        table = altered(random, table)
    try:
        text = tomli_w.dumps(table if isinstance(table, dict) else recipe())
    except (TypeError, ValueError, AttributeError):  # null, for one, is no TOML
        text = tomli_w.dumps(recipe())
    if random.random() < 0.3:
        words = re.findall(r'"[^"]*"|[\d.]+|true|false', text) or [text]
        new = TEXTS[random.integers(len(TEXTS))].encode("unicode_escape", "surrogatepass").decode()
        word = words[random.integers(len(words))]
        text = text.replace(word, random.choice([f'"{new}"', f"[{'9' * 5000}]", "1e999", "-0x1"]))
    if random.random() < 0.1:
        depth = int(10 ** random.uniform(1, 5))
        text += random.choice([f"\nx = {'[' * depth}", f"\n[{'a.' * depth}a]\nb = 1"])
    content = text.encode("utf-8", "surrogatepass")
    path = folder / "recipe.toml"
    path.write_bytes(damaged(random, content) if random.random() < 0.3 else content)
    found = read_recipe(path)
    write_recipe(found, path)
    assert read_recipe(path) == found, "a recipe that was written"


@cache
def zarrs() -> tuple[dict[str, bytes], ...]:
    """Valid zarr folders to begin with, as contents of their files."""
    import zarr

    grey = (255 * texture()).astype(np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, str(number)) for number in range(4)]
        write_ome_zarr(folders[0], np.stack([grey, grey]), SpatialMetadata(
            "ZYX", (2.0, 0.5, 0.5), ("µm", "µm", "µm")))  # fmt: skip
        for number, version in ((1, 2), (2, 3)):
            zarr.create_array(folders[number], data=grey, chunks=(10, 10), zarr_format=version)
        group = zarr.open_group(folders[3], mode="w", zarr_format=3)
        group.create_array("0", data=texture(), chunks=(12, 14), shards=(24, 28))
        axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
        scale = {"type": "scale", "scale": [0.5, 0.5]}
        datasets = [{"path": "0", "coordinateTransformations": [scale]}]
        group.attrs["ome"] = {"version": "0.5", "multiscales": [
            {"axes": axes, "datasets": datasets}]}  # fmt: skip
        return tuple(
            {
                str(f.relative_to(folder)): f.read_bytes()
                for f in sorted(folder.rglob("*"))
                if f.is_file()
            }
            for folder in folders
        )


LIES = {
    "shape": [[0, 0], [-1, 5], [2**31, 2**31], [2**62, 2**62], [24], [10**6, 10**6], [1] * 40],
    "chunks": [[0, 0], [-1, 1], [1, 1], [2**31, 2**31], [2**40, 2**40], [10]],
    "chunk_shape": [[0, 0], [1, 1], [2**31, 2**31], [2**62, 2**62], [5, 5, 5]],
    "dtype": ["|O", "<U9999999", "|V1", "<M8[ns]", "<f2", ">u8", "x", [["a", "<i4"]], "<c16"],
    "data_type": ["float16", "complex128", "string", "r99999999", "bool", "x", {"name": "struct"}],
    "path": ["..", "/", "../../../dev", "0/../..", "", ".", "\0", "x" * 5000],
    "scale": [[0, 0], [1e400, 1], [-1, 1], ["x", "y"], [1], "1"],
    "id": ["pickle", "gzip", "blosc", "zstd", "x", "json2", "vlen-utf8"],
    "name": ["pickle", "gzip", "blosc", "crc32c", "numcodecs.pickle", "q", "y", "transpose"],
}  # fmt: skip


def told(random: Random, value: Any) -> Any:
    """Let metadata lie about what it says."""
    if isinstance(value, list):
        return [told(random, item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: LIES[key][random.integers(len(LIES[key]))]
        if key in LIES and random.random() < 0.3
        else told(random, item)
        for key, item in value.items()
    }


def a_zarr(random: Random, folder: Path) -> None:
    """A zarr folder whose metadata or chunks are damaged, missing, or somewhere else."""
    path = folder / "image.zarr"
    files = dict(zarrs()[random.integers(len(zarrs()))])
    for _ in range(random.integers(1, 3)):
        name = list(files)[random.integers(len(files))]
        texts = [name for name in files if Path(name).name.startswith((".z", "zarr.json"))]
        kind = random.random()
        if kind < 0.6 and texts:
            name = texts[random.integers(len(texts))]
            try:
                value = json.loads(files[name])
            except (ValueError, RecursionError):
                continue
            value = (told if random.random() < 0.6 else altered)(random, value)
            files[name] = json.dumps(value).encode()
            if random.random() < 0.03:
                files[name] = b"[" * int(10 ** random.uniform(1, 6))
        elif kind < 0.9:
            files[name] = damaged(random, files[name])
        else:
            del files[name]
        if not files:
            break
    path.mkdir()
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    if files and random.random() < 0.15:
        file = path / list(files)[random.integers(len(files))]
        file.unlink()
        if random.random() < 0.5:
            os.mkfifo(file)
        else:
            places = ["/dev/zero", "/dev/full", str(path), str(file), "/etc/passwd", "nowhere"]
            file.symlink_to(places[random.integers(len(places))])
    _an_image(random, path)


TARGETS: dict[str, Callable[[Random, Path], None]] = {
    "model file": a_model_file,
    "checkpoint": a_checkpoint,
    "safetensors": a_safetensors_file,
    "TIFF": a_tiff,
    "PNG, JPEG, BMP": a_raster,
    "journal": a_journal,
    "names and folders": a_folder,
    "calls": a_call,
    "training": a_training,
    "recipe": a_recipe,
    "zarr": a_zarr,
}

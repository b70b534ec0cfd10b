"""Files made to do harm: nothing is executed, memory and time stay small, and one sentence says so.

Damage at random is tried by `tests/test_fuzz.py` and `benchmarks/fuzz.py`.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from safetensors.numpy import load_file, save_file

from napari_ssim_defects.cli import main
from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.training.messages import TrainingCheckpoint
from napari_ssim_defects.core.training.train import train
from napari_ssim_defects.io.artifacts.checkpoint_file import read_checkpoint, write_checkpoint
from napari_ssim_defects.io.artifacts.model_file import read_model
from napari_ssim_defects.io.files.safetensors_file import read_safetensors
from napari_ssim_defects.io.images.image_file import (
    find_images,
    match_masks,
    open_image,
    read_image,
)
from napari_ssim_defects.io.writers.journal import JOURNAL_NAME, Journal

GREY = np.arange(24 * 28, dtype=np.uint8).reshape(24, 28)
linux_only = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")


def refusal(function: Callable[..., object], *arguments: object) -> str:
    """The sentence that a function refuses by, having taken no more memory than a small image."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            function(*arguments)
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


# Model files


def _with_header(path: Path, model_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    content = model_path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    return path


FIRST, SECOND = "network.encoder.0.weight", "network.encoder.3.weight"


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h[FIRST].update(data_offsets=h[SECOND]["data_offsets"]),
        lambda h: h[FIRST].update(data_offsets=[0, 2**62]),
        lambda h: h[FIRST].update(data_offsets=[-4, 0]),
        lambda h: h[FIRST].update(shape=[2**32, 2**32]),
        lambda h: h[FIRST].update(shape=[-1, -1]),
        lambda h: h[FIRST].update(shape=h[FIRST]["shape"][::-1]),
        lambda h: h[FIRST].update(dtype="F16"),
        lambda h: h.update({"network.more": h[FIRST]}),
        lambda h: h["__metadata__"].update(model="[" * 10**6),
        lambda h: h["__metadata__"].update(model='{"config":' * 10**5),
        lambda h: h["__metadata__"].update(model='{"channels": ' + "9" * 10**6 + "}"),
        lambda h: h["__metadata__"].update({str(i): "x" * 100 for i in range(50_000)}),
    ],
    ids=["overlapping", "huge", "negative", "shape", "negative shape", "other shape", "dtype",
         "more tensors", "deep", "deeper", "digits", "many texts"],
)  # fmt: skip
def test_model_file_with_a_header_that_lies_is_refused(
    change: Callable[[dict[str, Any]], object], model_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    _with_header(path, model_path, change)
    if "many" in os.environ.get("PYTEST_CURRENT_TEST", ""):
        read_model(path)  # texts of others do no harm
    else:
        assert str(path) in refusal(read_model, path)


def test_weights_that_overflow_give_no_residual(
    model_path: Path, tmp_path: Path, material: Callable[..., Any]
) -> None:
    weights = load_file(model_path)
    for name in weights:
        if name.startswith("network.") and weights[name].dtype == np.float32:
            weights[name][...] = 3e38
    content = model_path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    save_file(weights, tmp_path / "m.safetensors", header["__metadata__"])
    model = read_model(tmp_path / "m.safetensors")
    assert "no finite" in refusal(lambda: model.residual(material(1), device="cpu"))


# Checkpoints


@pytest.fixture(scope="module")
def checkpoint(material: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TrainingConfig(patch_size=16, latent_dimension=4, patches=8, epochs=2, batch_size=4)
    messages = train([material(1)], config, device="cpu")
    states = [m.state for m in messages if isinstance(m, TrainingCheckpoint)]
    path = tmp_path_factory.mktemp("state") / "c.safetensors"
    write_checkpoint(states[0], path)
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("optimiser.0.step", None),
        ("optimiser.0.exp_avg", "optimiser.0.exp_avg_cubed"),
        ("optimiser.0.exp_avg", "optimiser.999999999999.exp_avg"),
        ("optimiser.0.exp_avg", "optimiser.\u0663.exp_avg"),
        ("optimiser.0.step", "optimiser.0.exp_avg"),
        ("network.encoder.0.weight", None),
        ("network.encoder.0.weight", "network.encoder.0.wait"),
    ],
)
def test_checkpoint_whose_parts_do_not_belong_together_is_refused(
    old: str, new: str | None, checkpoint: Path, tmp_path: Path, material: Callable[..., Any]
) -> None:
    tensors = load_file(checkpoint)
    content = checkpoint.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    moved = tensors.pop(old)
    if new is not None:
        tensors[new] = moved
    save_file(tensors, tmp_path / "c.safetensors", header["__metadata__"])
    state = read_checkpoint(tmp_path / "c.safetensors")
    sentence = refusal(lambda: list(train([material(1)], state=state, device="cpu")))
    assert "start a new training" in sentence


# TIFF


def _described(path: Path, text: str) -> Path:
    tifffile.imwrite(path, GREY, description=text, metadata=None)
    return path


OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image '
    'ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="28" SizeY="24" '
    'SizeZ="{z}" SizeC="1" SizeT="1"><TiffData><UUID FileName="{name}">urn:uuid:0</UUID></TiffData>'
    "</Pixels></Image></OME>"
)


@pytest.mark.parametrize("reader", [read_image, open_image])
@pytest.mark.parametrize("planes", [10**9, 10**12, 10**30])
def test_planes_that_no_file_holds_are_refused_before_they_are_listed(
    planes: int, reader: Callable[..., object], tmp_path: Path
) -> None:
    path = _described(tmp_path / "a.tif", OME.format(z=planes, name="a.tif"))
    assert "planes" in refusal(reader, path)


@pytest.mark.parametrize(
    "name", ["/dev/zero", "../a.tif", r"\\host\share\a.tif", "C:a.tif", "http://host/a.tif", "pipe"]
)
@linux_only
def test_planes_elsewhere_than_beside_the_file_are_never_looked_for(
    name: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = _described(tmp_path / "a.tif", OME.format(z=2, name=name))
    assert "not a file in the same folder" in refusal(read_image, path)


def test_entities_of_xml_are_neither_fetched_nor_multiplied(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("km")
    entities = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
    for text in (
        f'<?xml version="1.0"?><!DOCTYPE O [<!ENTITY a0 "{"x" * 99}">{entities}]><OME>&a9;</OME>',
        f'<?xml version="1.0"?><!DOCTYPE O [<!ENTITY a SYSTEM "{secret.as_uri()}">]>'
        + OME.partition("?>")[2].format(z=1, name="&a;"),
    ):
        assert "damaged" in refusal(read_image, _described(tmp_path / "a.tif", text))


@pytest.mark.parametrize("count", [10**9, 10**15])
@pytest.mark.parametrize(
    "text",
    ["ImageJ=1.11a\nimages={n}\nslices={n}\nhyperstack=true\n", '{{"shape": [{n}, 24, 28]}}'],
)
def test_stacks_that_no_file_holds_are_refused(text: str, count: int, tmp_path: Path) -> None:
    refusal(read_image, _described(tmp_path / "a.tif", text.format(n=count)))


@cache
def _zeros(deflate: bool) -> bytes:
    """As many as take 300 MB, compressed."""
    encoder = zlib.compressobj() if deflate else lzma.LZMACompressor(preset=0)
    return b"".join(encoder.compress(bytes(2**20)) for _ in range(300)) + encoder.flush()


@pytest.mark.slow
@pytest.mark.parametrize("reader", [read_image, open_image])
@pytest.mark.parametrize(
    ("side", "deflate"), [(64, True), (64, False), (9000, True)], ids=["deflate", "lzma", "large"]
)
def test_compressed_pixels_do_not_expand_beyond_the_image(
    side: int, deflate: bool, reader: Callable[..., object], tmp_path: Path
) -> None:
    data = _zeros(deflate)
    tags = [(256, side), (257, side), (258, 8), (259, 8 if deflate else 34925), (262, 1),
            (273, 122), (277, 1), (278, side), (279, len(data))]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path = tmp_path / "bomb.tif"
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + table + bytes(4) + data)
    assert "expand beyond the image" in refusal(reader, path)


def test_large_compressed_pieces_are_read_as_before(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1500, 1000), dtype=np.uint8)
    for compression in ("zlib", "lzma"):
        path = tmp_path / f"{compression}.tif"
        tifffile.imwrite(path, noise, compression=compression, rowsperstrip=1500)
        np.testing.assert_array_equal(read_image(path).data, noise)


def test_pages_in_a_circle_end(tmp_path: Path) -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.stack([GREY, GREY]), photometric="minisblack", metadata=None)
    content = bytearray(stream.getvalue())
    first = struct.unpack_from("<I", content, 4)[0]
    place = first
    while following := struct.unpack_from("<I", content, _next(content, place))[0]:
        place = following
    for target in (first, place):
        struct.pack_into("<I", content, _next(content, place), target)
        (tmp_path / "a.tif").write_bytes(content)
        for reader in (read_image, open_image):
            assert "damaged" in refusal(reader, tmp_path / "a.tif")


def _next(content: bytearray, page: int) -> int:
    return int(page + 2 + 12 * struct.unpack_from("<H", content, page)[0])


@pytest.mark.parametrize("codec", [2, 5, 6, 7, 9, 32809, 34712, 34887, 34933, 50000, 50002, 65535])
def test_exotic_compression_is_named_or_damage(codec: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["Compression"].overwrite(codec)
    assert str(path) in refusal(read_image, path)


# What is no file


@linux_only
def test_pipes_devices_and_circles_of_links_are_refused_at_once(tmp_path: Path) -> None:
    for suffix in ("png", "tif", "safetensors"):
        os.mkfifo(tmp_path / f"pipe.{suffix}")
        (tmp_path / f"zero.{suffix}").symlink_to("/dev/zero")
        (tmp_path / f"circle.{suffix}").symlink_to(tmp_path / f"circle.{suffix}")
        read = read_safetensors if suffix == "safetensors" else read_image
        for kind in ("pipe", "zero"):
            assert "device or a pipe" in refusal(read, tmp_path / f"{kind}.{suffix}")
        refusal(read, tmp_path / f"circle.{suffix}")
    for command in (["info", "pipe.safetensors"], ["detect", "zero.safetensors", ".", "-o", "r"]):
        assert main([str(tmp_path / c) if "." in c else c for c in command]) == 2
    assert "no images" in refusal(find_images, [tmp_path])
    assert "There is no file" in refusal(find_images, [tmp_path / "circle.png"])
    os.mkfifo(tmp_path / JOURNAL_NAME)
    assert "device or a pipe" in refusal(Journal(tmp_path).add, tmp_path / "a.png", {})


@linux_only
def test_folders_linked_in_circles_are_searched_once(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (tmp_path / "deep" / name).symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "deep" / "deeper" / "1.png").write_bytes(b"")
    (tmp_path / "deep" / ".hidden").mkdir()
    (tmp_path / "deep" / ".hidden" / "2.png").write_bytes(b"")
    for pattern in ("**/*.png", "**/**/**/*", "**", "deep/**/**.png"):
        found = find_images([str(tmp_path / pattern)])
        assert [path.name for path in found] == ["1.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["~nobody-of-this-name/a.png", "a\0b.png", "x" * 5000 + ".tif", "a/" * 2100 + "x.png",
             "\udcff.png", "**", "[", "", "*" * 300]
)  # fmt: skip
def test_names_that_cannot_be_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refusal(find_images, [name])
    refusal(read_image, name or ".")
    refusal(read_safetensors, name or ".")
    refusal(match_masks, [name or "."], tmp_path)


@pytest.mark.parametrize(
    "name", ["a b.png", "ünïcödé ✓.png", "a;rm -rf.png", "$(x).png", "-o.png", "%s.png", "'\".png"]
)
def test_any_name_is_detected_and_written_about(
    name: str, tmp_path: Path, model_path: Path, material: Callable[..., Any], capsys: Any
) -> None:
    from PIL import Image

    Image.fromarray(material(3, spoilt=True)).save(tmp_path / name)
    out = tmp_path / "out"
    command = ["detect", str(model_path), str(tmp_path / name), "-o", str(out), "--report"]
    assert main([*command, "--threshold", "0", "--device", "cpu", "--json"]) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert Path(image["labels"]).exists()
    assert name.replace('"', '""') in (out / "regions.csv").read_text("utf-8")


def test_names_that_are_no_text_are_shown_on_every_terminal(tmp_path: Path) -> None:
    """Streams are strict where the language is UTF-8."""
    name = os.fsencode(tmp_path) + b"/bad\xff\n\x1b[2J.safetensors"
    Path(os.fsdecode(name)).write_bytes(b"x" * 20)
    code = "import sys; from napari_ssim_defects.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([os.fsencode(sys.executable), b"-c", code.encode(), b"info", name],
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert b"Traceback" not in done.stderr


# The journal


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 200_000,
        b"9" * 10_000,
        b'{"image": [], "key": 1, "rows": []}',
        b'{"image": "/a.png", "key": "k", "rows": 5}',
        b'{"image": "/a.png", "key": "k", "rows": [], "files": {"labels": 1}, "regions": 1, '
        b'"defective_fraction": 0.5, "seconds": 1, "thumbnail": ""}',
        b'{"image": "/a.png", "key": "k", "rows": [{"=cmd()": 1}], "files": {}, "regions": 1, '
        b'"defective_fraction": 0.5, "seconds": 1, "thumbnail": ""}',
        b'{"image": "/a.png", "key": "k", "rows": [], "files": {}, "regions": 1, '
        b'"defective_fraction": NaN, "seconds": 1, "thumbnail": ""}',
    ],
)
def test_a_journal_of_somebody_else_is_passed_over(line: bytes, tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(line + b"\n")
    journal = Journal(tmp_path)
    assert journal.find(Path("/a.png")) is None
    assert list(journal.rows([Path("/a.png")])) == []


@linux_only
@pytest.mark.parametrize("name", [".zarray", ".zattrs", "0.0", "0.1"])
@pytest.mark.parametrize("special", ["/dev/zero", "pipe"])
def test_devices_and_pipes_in_a_zarr_folder_are_refused_at_once(
    name: str, special: str, tmp_path: Path
) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "image.zarr"
    pixels = np.ones((20, 30), np.uint8)
    zarr.create_array(path, data=pixels, chunks=(20, 20), zarr_format=2, attributes={"a": 1})
    (path / name).unlink()
    if special == "pipe":
        os.mkfifo(path / name)
    else:
        (path / name).symlink_to(special)
    with pytest.raises(InputError, match=r"damaged or not a zarr|is a folder|device or a pipe"):
        read_image(path)


def test_a_zarr_folder_of_endless_crumbs_is_refused(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "image.zarr"
    zarr.create_array(path, shape=(10**6, 10**6), dtype=np.uint8, chunks=(2, 3))
    with pytest.raises(InputError, match=r"1\.67e\+11 of 2 x 3 pixels per plane"):
        open_image(path)

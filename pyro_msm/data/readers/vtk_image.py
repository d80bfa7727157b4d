"""VTK image data in XML form (``.vti``): velocity on a uniform grid."""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from pyro_msm.errors import InputError

TYPES = {"Float32": "f4", "Float64": "f8"}
HEADERS = {"UInt32": "u4", "UInt64": "u8"}
END_TIME = 15.0


class Image(NamedTuple):
    """Velocity components u and v, each (z, y, x), and the coordinates along z, y and x."""

    velocity: list[np.ndarray]
    axes: list[np.ndarray]


def read_volume(path: Path) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """u and v (time, y, x) float32 and the axes, from one volume or from a folder of images.

    Raises:
        InputError: not VTK image data, no velocity in it, or images of different sizes.
    """
    if not path.is_dir():
        image = read_image(path)
        return image.velocity, dict(zip(("time", "y", "x"), image.axes, strict=True))
    files = sorted(path.glob("*.vti"), key=_natural)
    if len(files) < 2:
        raise InputError(f"{path}: {len(files)} .vti files: expected one for each of the times")
    first = read_image(files[0])
    shape = (len(files), *first.velocity[0].shape[1:])
    velocity = [np.empty(shape, np.float32) for _ in first.velocity]
    for index, file in enumerate(files):
        image = read_image(file)
        if image.velocity[0].shape != (1, *shape[1:]):
            raise InputError(
                f"{file} holds {image.velocity[0].shape} values (z, y, x): expected "
                f"{(1, *shape[1:])}, as the first one"
            )
        for whole, part in zip(velocity, image.velocity, strict=True):
            whole[index] = part[0]
    time = np.linspace(0.0, END_TIME, len(files))
    return velocity, {"time": time, "y": first.axes[1], "x": first.axes[2]}


def read_image(path: Path) -> Image:
    """One ``.vti`` file: the arrays ``u`` and ``v``, or the first vector array.

    Values may be text, or binary: base64 or raw, appended or in place, with zlib or without.

    Raises:
        InputError: none of these.
    """
    try:
        return _parsed(path)
    except (ElementTree.ParseError, KeyError, ValueError, zlib.error, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not readable VTK image data (.vti), it may be truncated or of another "
            f"format ({error})"
        ) from error


def _parsed(path: Path) -> Image:
    markup, raw = _separated(path.read_bytes())
    root = ElementTree.fromstring(markup)
    grid = root.find("ImageData")
    if grid is None:
        raise InputError(f"{path}: VTK file of type {root.get('type')}: expected ImageData")
    extent = [int(part) for part in grid.attrib["WholeExtent"].split()]
    origin = [float(part) for part in grid.get("Origin", "0 0 0").split()]
    spacing = [float(part) for part in grid.get("Spacing", "1 1 1").split()]
    arrays = grid.findall("Piece/PointData/DataArray")
    named = {array.get("Name", ""): array for array in arrays}
    vectors = [array for array in arrays if int(array.get("NumberOfComponents", 1)) > 1]
    if {"u", "v"} <= set(named):
        parts = [_values(named[name], root, raw) for name in ("u", "v")]
    elif vectors:
        components = int(vectors[0].attrib["NumberOfComponents"])
        table = _values(vectors[0], root, raw).reshape(-1, components)
        parts = [table[:, 0], table[:, 1]]
    else:
        raise InputError(
            f"{path}: no velocity among its point data {', '.join(named) or '(none)'}: expected "
            "the arrays u and v, or one array of vectors"
        )
    axes = [
        origin[axis] + spacing[axis] * np.arange(extent[2 * axis], extent[2 * axis + 1] + 1)
        for axis in (2, 1, 0)
    ]
    shape = tuple(len(axis) for axis in axes)
    return Image([part.reshape(shape).astype(np.float32) for part in parts], axes)


def _separated(content: bytes) -> tuple[bytes, bytes]:
    """The XML without its appended data, and these."""
    found = re.search(rb"<AppendedData[^>]*>\s*_", content)
    if found is None:
        return content, b""
    end = content.rfind(b"</AppendedData>")
    return content[: found.end()] + content[end:], content[found.end() : end]


def _values(array: ElementTree.Element, root: ElementTree.Element, raw: bytes) -> np.ndarray:
    order = ">" if root.get("byte_order") == "BigEndian" else "<"
    kind = np.dtype(order + TYPES[array.attrib["type"]])
    form = array.get("format", "ascii")
    if form == "ascii":
        return np.array((array.text or "").split(), dtype=kind)
    header = np.dtype(order + HEADERS[root.get("header_type", "UInt32")])
    compressed = root.get("compressor") is not None
    data = "".join((array.text or "").split()).encode()
    if form == "appended":
        data = raw[int(array.attrib["offset"]) :]
        block = root.find("AppendedData")
        if block is not None and block.get("encoding") == "raw":
            return np.frombuffer(_raw_block(data, header, compressed), kind)
    return np.frombuffer(_base64_block(data, header, compressed), kind)


def _raw_block(data: bytes, header: np.dtype, compressed: bool) -> bytes:
    if not compressed:
        length = int(np.frombuffer(data, header, 1)[0])
        return data[header.itemsize : header.itemsize + length]
    count = int(np.frombuffer(data, header, 1)[0])
    sizes = np.frombuffer(data, header, count, offset=3 * header.itemsize)
    return _inflated(data[(3 + count) * header.itemsize :], sizes)


def _base64_block(data: bytes, header: np.dtype, compressed: bool) -> bytes:
    """As ``_raw_block``; a compressed block has its header encoded on its own."""
    if not compressed:
        length = int(np.frombuffer(_decoded(data, header.itemsize), header, 1)[0])
        return _decoded(data, header.itemsize + length)[header.itemsize :]
    count = int(np.frombuffer(_decoded(data, header.itemsize), header, 1)[0])
    head = (3 + count) * header.itemsize
    sizes = np.frombuffer(_decoded(data, head), header, count, offset=3 * header.itemsize)
    return _inflated(_decoded(data[4 * -(-head // 3) :], int(sizes.sum())), sizes)


def _decoded(text: bytes, count: int) -> bytes:
    """The first ``count`` bytes that base64 ``text`` stands for."""
    return base64.b64decode(text[: 4 * -(-count // 3)])[:count]


def _inflated(data: bytes, sizes: np.ndarray) -> bytes:
    ends = np.cumsum(sizes)
    return b"".join(
        zlib.decompress(data[int(end - size) : int(end)])
        for size, end in zip(sizes, ends, strict=True)
    )


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts flow2 before flow10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]

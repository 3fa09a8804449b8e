"""Files of arrays with a header: NumPy's npz format without pickle, with a version and a checksum.

A file that is damaged, foreign, or of another version is refused; reading it runs nothing that it holds.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from os import PathLike
from typing import IO, Any

import numpy as np

File = str | PathLike[str] | IO[bytes]
"""A path, or a binary file that is open."""


def write(file: File, fields: dict[str, Any], arrays: Sequence[np.ndarray[Any, Any]]) -> None:
    """Write arrays, and fields that say what they are.

    Parameters
    ----------
    file : path or binary file
        A path without an ending gets .npz.
    fields : dict
        As JSON has them; ``format`` and ``version`` among them.
    arrays : sequence of NumPy arrays
    """
    header = json.dumps(fields)
    named = {f"array_{index}": array for index, array in enumerate(arrays)}
    np.savez(file, header=np.asarray(header), digest=np.asarray(_digest(header, arrays)), **named)  # type: ignore[arg-type]


def read(file: File, format_: str, version: int, noun: str) -> tuple[dict[str, Any], list[np.ndarray[Any, Any]]]:
    """The fields and the arrays that `write` wrote.

    Parameters
    ----------
    file : path or binary file
    format_, version
        What the fields of these names must be.
    noun : str
        What such a file is called.

    Raises
    ------
    ValueError
        If the file is not one of this format, is damaged, or is of another version.
    OSError
        If it can't be opened.
    """
    label = getattr(file, "name", file)
    # np.load leaves a damaged file open that it opened itself
    opened = open(file, "rb") if isinstance(file, (str, PathLike)) else nullcontext(file)  # noqa: SIM115
    with opened as stream:
        try:
            with np.load(stream, allow_pickle=False) as content:
                header, digest = str(content["header"]), str(content["digest"])
                arrays = [content[f"array_{index}"] for index in range(len(content.files) - 2)]
            fields = json.loads(header)
            found_format, found_version = fields["format"], fields["version"]
        except Exception as error:  # zipfile, zlib, NumPy and the tokenizer that it reads headers with have many
            raise ValueError(f"{label} is not a file of {noun}, or is damaged: {error}") from error
    if found_format != format_:
        raise ValueError(f"{label} is not a file of {noun}: its format is {found_format!r}")
    if found_version != version:
        raise ValueError(
            f"{label} has version {found_version} of the format, and this glmheads reads version {version}: "
            "read it with the glmheads that wrote it"
        )
    if digest != _digest(header, arrays):
        raise ValueError(f"{label} is damaged: its content does not match its checksum")
    return fields, arrays


def _digest(header: str, arrays: Sequence[np.ndarray[Any, Any]]) -> str:
    digest = hashlib.sha256(header.encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

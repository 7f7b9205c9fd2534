"""A seal behind a file's own bytes: a mark and the CRC-32 of all before it, so that one flipped bit is noticed.

HDF5 files stay readable by any HDF5 tool; the seal is checked before HDF5 parses anything, for libhdf5 reads many
flipped bits as other values.
"""

import struct
import zlib
from pathlib import Path

SEAL = struct.Struct("<8sI")
MARK = b"WMSHARD1"
BLOCK = 2**22
"""Bytes that are read at once."""


def append_seal(path: Path) -> None:
    """Seal a file that is whole."""
    crc = _crc(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(SEAL.pack(MARK, crc))


def check_seal(path: Path) -> None:
    """Read the whole file (about a second a gigabyte) and compare.

    Raises:
        ValueError: the file is truncated, damaged or foreign.
        OSError: it cannot be read.
    """
    size = max(0, path.stat().st_size - SEAL.size)
    with path.open("rb") as file:
        file.seek(size)
        seal = file.read()
    if len(seal) < SEAL.size or not seal.startswith(MARK):
        raise ValueError("its seal is missing")
    if SEAL.unpack(seal)[1] != _crc(path, size):
        raise ValueError("its checksum is wrong")


def _crc(path: Path, size: int) -> int:
    """CRC-32 of the file's first bytes."""
    crc = 0
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(BLOCK, size))):
            crc, size = zlib.crc32(block, crc), size - len(block)
    return crc

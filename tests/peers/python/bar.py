"""The bar of the virtual camera (see hal::sim::bar): 3 rows of 32 cells at the top of a picture."""

import numpy as np


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


def cells(width: int, height: int):
    """Edges (x0, x1, y0, y1) of the 96 cells, row by row."""
    for row in range(3):
        for cell in range(32):
            yield (
                cell * width // 32,
                (cell + 1) * width // 32,
                row * height // 20,
                (row + 1) * height // 20,
            )


def read(luma: np.ndarray):
    """(time in us on CLOCK_MONOTONIC, frame number, camera id), or None. `luma` has the shape (height, width)."""
    height, width = luma.shape
    bits = []
    for x0, x1, y0, y1 in cells(width, height):
        qx, qy = (x1 - x0) // 4, (y1 - y0) // 4
        bits.append(luma[y0 + qy : y1 - qy, x0 + qx : x1 - qx].mean() > 128)
    data = np.packbits(np.array(bits)).tobytes()
    if data[0] != 0xB5 or crc16(data[:10]) != int.from_bytes(data[10:12], "big"):
        return None
    return int.from_bytes(data[1:6], "big") * 100, int.from_bytes(data[6:9], "big"), data[9]


def burn(luma: np.ndarray, time_us: int, frame: int, camera: int) -> None:
    """Draws the bar into `luma`; the chroma below it stays."""
    data = bytes([0xB5]) + (time_us // 100).to_bytes(5, "big") + (frame % (1 << 24)).to_bytes(3, "big") + bytes([camera])
    data += crc16(data).to_bytes(2, "big")
    height, width = luma.shape
    for number, (x0, x1, y0, y1) in enumerate(cells(width, height)):
        luma[y0:y1, x0:x1] = 235 if data[number >> 3] & (0x80 >> (number & 7)) else 16

"""H.264 videos that play in browsers, GIFs that play in a README, and the labels on their pictures."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from utils.errors import check
from utils.files import atomic_write


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float, crf: int = 23) -> int:
    """Encode frames as they come; the file appears when it is whole.

    Args:
        path: an .mp4 file; its folder is made.
        frames: uint8 (H, W, 3), all of one size; odd heights and widths are padded by a black line.
        fps: frames a second.
        crf: x264's quality, 0 (lossless) to 51.

    Returns:
        How many frames were written.

    Raises:
        UserError: the file's name does not end in .mp4, or there are no frames.
    """
    check(path.suffix == ".mp4", f"a video's name must end in .mp4; got {path}.")
    count = 0

    def encode(temp: Path) -> None:
        nonlocal count
        with av.open(str(temp), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": str(crf), "preset": "veryfast"}
            for frame in frames:
                even = _even(frame)
                if not count:
                    stream.height, stream.width = even.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
                count += 1
            check(count, f"there is not one frame to write into {path}.")
            container.mux(stream.encode())

    atomic_write(path, encode)
    return count


def write_gif(path: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    """Write an endless GIF of frames, uint8 (H, W, 3), each with 64 colours of its own; return their number.

    Raises:
        UserError: there are no frames.
    """
    pictures = [Image.fromarray(frame).quantize(64) for frame in frames]
    check(pictures, f"there is not one frame to write into {path}.")
    first, rest = pictures[0], pictures[1:]
    delay = round(1000 / fps)
    atomic_write(
        path, lambda temp: first.save(temp, "gif", save_all=True, append_images=rest, duration=delay, loop=0)
    )
    return len(pictures)


def _even(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    return np.ascontiguousarray(np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0))))


def panels(frames: Iterable[np.ndarray], labels: Iterable[str], caption: str, height: int) -> np.ndarray:
    """Frames side by side, enlarged, with a label above each and a caption below.

    Args:
        frames: uint8 (h, w, 3) each; enlarged by a whole number without smoothing.
        labels: what is written above each.
        caption: the line below.
        height: how high each frame becomes, about.

    Returns:
        uint8 (H, W, 3), H and W even.
    """
    columns = []
    for frame, label in zip(frames, labels, strict=True):
        scale = max(1, round(height / frame.shape[0]))
        big = frame.repeat(scale, axis=0).repeat(scale, axis=1)
        columns.append(np.concatenate([_text(label, big.shape[1]), big]))
    gap = np.full((columns[0].shape[0], 8, 3), 255, np.uint8)
    row = np.concatenate([part for column in columns for part in (column, gap)][:-1], axis=1)
    return _even(np.concatenate([row, _text(caption, row.shape[1])]))


def _text(text: str, width: int) -> np.ndarray:
    strip = np.full((30, width, 3), 255, np.uint8)
    size = 0.5
    while size > 0.2 and cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0] > width - 12:
        size -= 0.02
    cv2.putText(strip, text, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, size, (20, 20, 20), 1, cv2.LINE_AA)
    return strip

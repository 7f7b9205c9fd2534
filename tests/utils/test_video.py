"""Videos decode to what was written."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from utils.errors import UserError
from utils.video import panels, write_gif, write_video


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_video_has_the_frames_that_were_written(tmp_path: Path):
    frames = [np.full((33, 64, 3), level, np.uint8) for level in range(0, 250, 10)]
    assert write_video(tmp_path / "new" / "a.mp4", iter(frames), fps=50, crf=10) == 25
    read = decode(tmp_path / "new" / "a.mp4")
    assert len(read) == 25
    assert read[0].shape == (34, 64, 3), "padded to even sizes"
    for got, frame in zip(read, frames, strict=True):
        assert abs(got[:32].mean() - frame.mean()) < 4


def test_a_gif_plays_the_frames_that_were_written(tmp_path: Path):
    frames = [np.full((16, 24, 3), (level, 0, 0), np.uint8) for level in (0, 100, 200)]
    assert write_gif(tmp_path / "a.gif", iter(frames), fps=12.5) == 3
    with Image.open(tmp_path / "a.gif") as gif:
        for index, frame in enumerate(frames):
            gif.seek(index)
            assert gif.info["duration"] == 80
            assert abs(np.asarray(gif.convert("RGB")).astype(int) - frame).max() < 8
    with pytest.raises(UserError, match="not one frame"):
        write_gif(tmp_path / "b.gif", [], fps=10)


def test_a_video_that_breaks_off_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def broken():
        yield np.zeros((32, 32, 3), np.uint8)
        raise RuntimeError("the env broke")

    with pytest.raises(RuntimeError):
        write_video(path, broken(), fps=50)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_write_and_other_formats_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="not one frame"):
        write_video(tmp_path / "a.mp4", [], fps=50)
    with pytest.raises(UserError, match=r"\.mp4"):
        write_video(tmp_path / "a.gif", [np.zeros((32, 32, 3), np.uint8)], fps=50)


def test_panels_enlarge_each_frame_whole(tmp_path: Path):
    frames = [np.full((16, 16, 3), level, np.uint8) for level in (50, 100, 150)]
    picture = panels(frames, ["a", "b", "c"], "caption", height=64)
    assert picture.dtype == np.uint8
    assert picture.shape == (30 + 64 + 30, 3 * 64 + 2 * 8, 3)
    for i, frame in enumerate(frames):
        assert (picture[30:94, i * 72 : i * 72 + 64] == frame[0, 0]).all()

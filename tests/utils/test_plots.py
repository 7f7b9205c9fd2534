from pathlib import Path

import cv2
import pytest

from utils.plots import rank_correlation, scatter


def test_the_rank_correlation_is_spearmans():
    assert rank_correlation([1, 2, 3, 10], [5, 6, 70, 800]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 10], [4, 3, 2, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert rank_correlation([1, 2, 2, 3], [1, 2, 2, 3]) == pytest.approx(1.0), "ties share their ranks"
    assert rank_correlation([1, 1, 1], [1, 2, 3]) == 0.0


def test_a_scatter_is_a_picture(tmp_path: Path):
    scatter(tmp_path / "gap.png", [1.0, 2.0, 3.0], [3.0, 1.0, 2.0], "dream return", "real return")
    picture = cv2.imread(str(tmp_path / "gap.png"))
    assert picture is not None
    assert picture.min() < 100, "something is drawn"

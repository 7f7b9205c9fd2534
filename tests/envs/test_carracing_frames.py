from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from envs.carracing import CarRacing
from envs.carracing_car import shrinking
from envs.carracing_texture import Colors, TrackTexture
from tests.envs.carracing_driver import Driver

Pair = tuple[np.ndarray, np.ndarray]


def pairs(env: CarRacing, seed: int, steps: range, noise: float = 0.0) -> Iterator[Pair]:
    """Our frame and gymnasium's of the same states, as float64."""
    env.reset(seed=seed)
    driver, rng = Driver(fast=70), np.random.default_rng(seed)
    for t in range(steps.stop):
        action = driver(env) + rng.normal(0, noise, 3) if noise else driver(env)
        obs = env.step(np.clip(action, [-1, 0, 0], 1))[0]
        if t in steps:
            yield obs.astype(np.float64), env._reference().astype(np.float64)


def errors(some: Iterator[Pair], part: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Mean absolute error and RMSE over all frames, of 255."""
    differences = np.stack([part(ours) - part(reference) for ours, reference in some])
    return float(np.abs(differences).mean()), float(np.sqrt((differences**2).mean()))


def road(frame: np.ndarray) -> np.ndarray:
    return frame[: len(frame) * 7 // 8]


def strip(frame: np.ndarray) -> np.ndarray:
    return frame[len(frame) * 7 // 8 :]


@pytest.mark.parametrize(("size", "limits"), [(96, (0.5, 3.0)), (64, (0.8, 3.5)), (32, (2.0, 5.0))])
def test_the_road_looks_as_gymnasium_draws_it(size: int, limits: tuple[float, float]) -> None:
    env = CarRacing(size=size)
    for seed, noise in ((0, 0.0), (1, 0.4)):  # round bends with kerbs; on and off the road
        mean, rmse = errors(pairs(env, seed, range(55, 400, 23), noise), road)
        assert mean < limits[0]
        assert rmse < limits[1]


@pytest.mark.parametrize("size", [96, 64])
def test_the_zoom_in_looks_as_gymnasium_draws_it(size: int) -> None:
    mean, rmse = errors(pairs(CarRacing(size=size), 4, range(0, 50, 4)), road)
    assert mean < 1.0
    assert rmse < 3.5


@pytest.mark.parametrize("size", [96, 64])
def test_the_strips_bars_and_score_are_gymnasiums(size: int) -> None:
    mean, rmse = errors(pairs(CarRacing(size=size), 2, range(10, 330, 29), 0.3), strip)
    assert mean < 0.4
    assert rmse < 1.5


def test_the_car_is_drawn_where_it_is() -> None:
    """The whole frame's error hides a missing car; its own pixels do not."""

    def near(frame: np.ndarray) -> np.ndarray:
        return frame[65:79, 44:52]

    env = CarRacing()
    mean, _ = errors(pairs(env, 0, range(60, 200, 17), 0.4), near)
    assert mean < 6
    frame = near(env.step(np.zeros(3))[0]).astype(int)
    assert (frame[..., 0] - frame[..., 1] > 100).sum() > 8
    assert (frame.max(2) < 70).sum() > 3


def test_far_off_the_track_the_grass_goes_on_and_ends_in_black() -> None:
    env = CarRacing()
    env.reset(seed=0)
    for _ in range(51):
        env.step(np.zeros(3))
    assert env.car is not None
    renderer = env._renderer
    assert renderer is not None
    for place in ((300.0, 300.0), (-328.0, 10.0), (0.0, -300.0)):
        env.car.hull.position = place
        difference = road(renderer.draw(env)).astype(float) - road(env._reference())
        difference[60:] = 0  # the wheels have stayed behind
        assert np.abs(difference).mean() < 1.0


def test_a_touched_tile_loses_its_shade() -> None:
    env = CarRacing()
    env.reset(seed=0)
    texture = env._renderer._texture if env._renderer else None
    assert texture is not None
    tile = 7  # 7 % 3 = 1: lighter than the plain road by 2
    x, y = texture._quads[texture._tiles[tile]].mean(0)
    canvas = texture.fine
    spot = int((y - canvas.y0) / canvas.texel), int((x - canvas.x0) / canvas.texel)
    assert canvas.image[spot].tolist() == [102] * 3
    for _ in range(120):
        env.step(np.array([0, 0.5, 0]))
    assert env.road is not None
    assert env.road[tile].road_visited
    assert canvas.image[spot].tolist() == [100] * 3


def test_gymnasiums_renderer_gives_gymnasiums_frames() -> None:
    fast, slow, small = (
        CarRacing(),
        CarRacing(renderer="gymnasium"),
        CarRacing(renderer="gymnasium", size=64),
    )
    for env in (fast, slow, small):
        env.reset(seed=6)
    frame = tiny = np.empty(0)
    for _ in range(3):
        fast.step(np.ones(3))
        frame, tiny = slow.step(np.ones(3))[0], small.step(np.ones(3))[0]
    assert np.array_equal(frame, fast._reference())
    assert np.array_equal(tiny, cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA))


def test_crop_hud_shows_the_road_alone_with_both_renderers() -> None:
    env = CarRacing(size=64, crop_hud=True)
    mean, rmse = errors(pairs(env, 3, range(60, 160, 20)), lambda frame: frame)
    assert mean < 0.8
    assert rmse < 3.5


def test_skip_zoom_draws_the_first_second_from_near_and_leaves_the_physics() -> None:
    plain, near = CarRacing(), CarRacing(skip_zoom=True)
    first = near.reset(seed=5)[0].astype(float)
    plain.reset(seed=5)
    assert np.abs(first - near.step(np.zeros(3))[0]).mean() < 3
    plain.step(np.zeros(3))
    for t in range(60):
        action = np.array([0.1, 0.3, 0])
        ours, theirs = near.step(action), plain.step(action)
        assert ours[1] == theirs[1]
        assert np.array_equal(ours[0], theirs[0]) == (t > 46)  # one second is over


@pytest.mark.parametrize("renderer", ["fast", "gymnasium"])
def test_side_bars_are_black_and_hide_nothing_else(renderer: str) -> None:
    plain = CarRacing(size=64, renderer=renderer).reset(seed=1)[0]
    barred = CarRacing(size=64, renderer=renderer, perturbation="bars").reset(seed=1)[0]
    assert not barred[:, :5].any()
    assert not barred[:, -5:].any()
    assert np.array_equal(barred[:, 5:-5], plain[:, 5:-5])


def test_colour_shifts_are_small_differ_by_episode_and_leave_the_track_alone() -> None:
    plain, shifted = CarRacing(), CarRacing(perturbation="color")
    scales = []
    for seed in (1, 2, 1):
        plain.reset(seed=seed)
        shifted.reset(seed=seed)
        assert plain.track == shifted.track
        scales.append((shifted.bg_color / plain.bg_color).tolist())
        assert all(0.8 <= scale <= 1.2 for scale in scales[-1])
    assert scales[0] == scales[2] != scales[1]
    assert not np.array_equal(plain.reset(seed=1)[0], shifted.reset(seed=1)[0])
    rewards = [[env.step(np.ones(3))[1] for _ in range(5)] for env in (plain, shifted)]
    assert rewards[0] == rewards[1]


def test_frames_are_the_callers_own() -> None:
    env = CarRacing()
    first = env.reset(seed=0)[0]
    copy = first.copy()
    env.step(np.ones(3))
    assert np.array_equal(first, copy)


@pytest.mark.parametrize(("length", "pixels", "reference"), [(1000, 96, 96), (1000, 64, 96), (800, 128, 96)])
def test_shrinking_keeps_the_mean(length: int, pixels: int, reference: int) -> None:
    matrix = shrinking(length, pixels, reference)
    assert matrix.shape == (pixels, length)
    assert np.allclose(matrix.sum(1), 1)
    assert np.allclose(matrix.sum(0), pixels / length)


def test_the_texture_takes_a_few_megabytes_and_frees_the_coarse_one() -> None:
    env = CarRacing()
    env.reset(seed=0)
    texture = env._renderer._texture if env._renderer else None
    assert isinstance(texture, TrackTexture)
    assert texture.fine.image.nbytes + texture.coarse.image.nbytes < 12e6
    for _ in range(60):
        env.step(np.zeros(3))
    assert texture._coarse is None


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_kerbs_without_width_are_left_out() -> None:
    tile = [[-6, 4], [6, 4], [6, 0], [-6, 0]]
    kerb = [[0, 4], [0, 4], [0, 0], [0, 0]]
    colors = Colors(*(np.array([level] * 3, np.float64) for level in (102, 2, 2)))
    shades, is_tile = np.array([[255.0] * 3, [102.0] * 3]), np.array([False, True])
    texture = TrackTexture(np.array([kerb, tile], np.float64), shades, is_tile, colors, 96)
    assert texture.fine.image.max() == 100
    texture.repaint(0)


def test_a_road_is_painted_as_wide_as_it_is() -> None:
    quads = np.array([[[-6, y], [6, y], [6, y - 4], [-6, y - 4]] for y in range(-100, 100, 4)], np.float64)
    colors = Colors(*(np.array([level] * 3, np.float64) for level in (202, 2, 2)))
    texture = TrackTexture(quads, np.full((len(quads), 3), 202.0), np.ones(len(quads), bool), colors, 96)
    row = texture.fine.image[texture.fine.image.shape[0] // 2, :, 0]
    assert row.sum() / 200 * texture.texel == pytest.approx(12, abs=0.2)

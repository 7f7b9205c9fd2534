"""The attributes of CARLA's sensors: names, types and defaults as its public documentation gives them.

What the lite server's sensors do not act on (lens, exposure, motion blur ...) is accepted, kept and ignored.
"""

Row = tuple[str, str, str]
"""name, type ("bool", "int", "float", "string") and default, as text"""


def _rows(kind: str, table: str) -> tuple[Row, ...]:
    """Rows from lines of "name default"."""
    pairs = (line.split() for line in table.strip().splitlines())
    return tuple((name, kind, default) for name, default in pairs)


_TICK = _rows("float", "sensor_tick 0.0")
_SIZE = _rows("int", "image_size_x 800\nimage_size_y 600") + _rows("float", "fov 90.0")
_LENS = _rows(
    "float",
    """
    lens_circle_falloff 5.0
    lens_circle_multiplier 0.0
    lens_k -1.0
    lens_kcube 0.0
    lens_x_size 0.08
    lens_y_size 0.08
    """,
)
_CAMERA = _SIZE + _LENS + _TICK
_POST_PROCESSING = (
    *_rows("bool", "enable_postprocess_effects True"),
    *_rows("string", "exposure_mode histogram"),
    *_rows("int", "blade_count 5"),
    *_rows(
        "float",
        """
        bloom_intensity 0.675
        fstop 1.4
        iso 100.0
        gamma 2.2
        lens_flare_intensity 0.1
        shutter_speed 200.0
        min_fstop 1.2
        exposure_compensation 0.75
        exposure_min_bright 10.0
        exposure_max_bright 12.0
        exposure_speed_up 3.0
        exposure_speed_down 1.0
        calibration_constant 16.0
        focal_distance 1000.0
        blur_amount 1.0
        blur_radius 0.0
        motion_blur_intensity 0.45
        motion_blur_max_distortion 0.35
        motion_blur_min_object_screen_size 0.1
        slope 0.88
        toe 0.55
        shoulder 0.26
        black_clip 0.0
        white_clip 0.04
        temp 6500.0
        tint 0.0
        chromatic_aberration_intensity 0.0
        chromatic_aberration_offset 0.0
        """,
    ),
)
_LIDAR = (
    *_rows("int", "channels 32\npoints_per_second 56000"),
    *_rows(
        "float",
        """
        range 10.0
        rotation_frequency 10.0
        upper_fov 10.0
        lower_fov -30.0
        horizontal_fov 360.0
        """,
    ),
    *_TICK,
)
_LIDAR_NOISE = _rows(
    "float",
    """
    atmosphere_attenuation_rate 0.004
    dropoff_general_rate 0.45
    dropoff_intensity_limit 0.8
    dropoff_zero_intensity 0.4
    noise_stddev 0.0
    """,
)
_NOISE_SEED = _rows("int", "noise_seed 0")
_GNSS = (
    *_rows(
        "float",
        "\n".join(f"noise_{part}_{of} 0.0" for part in ("alt", "lat", "lon") for of in ("bias", "stddev")),
    ),
    *_NOISE_SEED,
    *_TICK,
)
_IMU_NOISE = ("accel_stddev", "gyro_bias", "gyro_stddev")
_IMU = (
    *_rows("float", "\n".join(f"noise_{part}_{axis} 0.0" for part in _IMU_NOISE for axis in "xyz")),
    *_NOISE_SEED,
    *_TICK,
)
_RADAR = (
    *_rows("int", "points_per_second 1500"),
    *_rows("float", "horizontal_fov 30.0\nvertical_fov 30.0\nrange 100.0"),
    *_TICK,
)
_OBSTACLE = (
    *_rows("float", "distance 5.0\nhit_radius 0.5"),
    *_rows("bool", "only_dynamics False\ndebug_linetrace False"),
    *_TICK,
)

SENSORS: dict[str, tuple[Row, ...]] = {
    "sensor.camera.rgb": _CAMERA + _POST_PROCESSING,
    "sensor.camera.depth": _CAMERA,
    "sensor.camera.semantic_segmentation": _CAMERA,
    "sensor.lidar.ray_cast": _LIDAR + _LIDAR_NOISE,
    "sensor.lidar.ray_cast_semantic": _LIDAR,
    "sensor.other.collision": (),
    "sensor.other.lane_invasion": (),
    "sensor.other.obstacle": _OBSTACLE,
    "sensor.other.imu": _IMU,
    "sensor.other.gnss": _GNSS,
    "sensor.other.radar": _RADAR,
}
"""The sensors of the lite server and their attributes, without role_name."""

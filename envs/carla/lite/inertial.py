"""What the IMU and the GNSS read, with the noise that their attributes ask for."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from envs.carla.lite.vehicle_spec import GRAVITY_MPS2

Vector = tuple[float, float, float]

_EARTH_RADIUS_M = 6378137.0 * 0.9996
"""radius at the equator by the scale that CARLA 0.9.16 uses whatever the map's projection says"""


@dataclass(frozen=True)
class GeoReference:
    """Where on Earth a map's origin is: `RoadMap.geo_origin`."""

    latitude_deg: float
    longitude_deg: float

    def locate(self, x: float, y: float, z: float) -> Vector:
        """Latitude and longitude in degrees and altitude in metres of a place on the map.

        A transverse Mercator projection of the sphere, the same as `carla.Map.transform_to_geolocation`: there, in
        0.9.16, latitude grows with y although y points south.
        """
        east, north = x / _EARTH_RADIUS_M, y / _EARTH_RADIUS_M + math.radians(self.latitude_deg)
        latitude = math.asin(math.sin(north) / math.cosh(east))
        longitude = math.atan2(math.sinh(east), math.cos(north))
        return math.degrees(latitude), self.longitude_deg + math.degrees(longitude), z


def into_body(vector: Vector, rotation: Vector) -> Vector:
    """A vector of the world in the axes of something turned by pitch, yaw and roll (radians)."""
    x, y, z = vector
    (sp, cp), (sy, cy), (sr, cr) = ((math.sin(angle), math.cos(angle)) for angle in rotation)
    return (
        x * cp * cy + y * cp * sy + z * sp,
        x * (cy * sp * sr - sy * cr) + y * (sy * sp * sr + cy * cr) - z * cp * sr,
        -x * (cy * sp * cr + sy * sr) - y * (sy * sp * cr - cy * sr) + z * cp * cr,
    )


class _Noise:
    """Normal noise from a generator of its own, so that one sensor's draws do not move another's."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._attributes = attributes
        self._random = random.Random(int(attributes["noise_seed"]))

    def add(self, value: float, name: str, suffix: str = "") -> float:
        """The value with the bias and the spread that the attributes `noise_NAME_...` give."""
        spread = float(self._attributes[f"noise_{name}_stddev{suffix}"])
        bias = float(self._attributes.get(f"noise_{name}_bias{suffix}", "0"))
        return value + bias + (self._random.gauss(0.0, spread) if spread else 0.0)


class Imu:
    """Accelerometer, gyroscope and compass."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._noise = _Noise(attributes)

    def read(
        self,
        acceleration: Vector,
        angular_velocity: Vector,
        rotation: Vector,
        gravity_mps2: float = GRAVITY_MPS2,
    ) -> tuple[Vector, Vector, float]:
        """One reading.

        Args:
            acceleration: of the parent, world axes, m/s2.
            angular_velocity: of the parent, world axes, rad/s; z is the yaw rate.
            rotation: pitch, yaw and roll of the sensor in the world, rad.
            gravity_mps2: that it feels.

        Returns:
            accelerometer (m/s2, with gravity) and gyroscope (rad/s) in the sensor's axes, and the compass (rad).
        """
        ax, ay, az = acceleration
        felt = into_body((ax, ay, az + gravity_mps2), rotation)
        turning = into_body(angular_velocity, rotation)
        noisy_felt = [self._noise.add(value, "accel", f"_{axis}") for value, axis in zip(felt, "xyz")]
        noisy_turning = [self._noise.add(value, "gyro", f"_{axis}") for value, axis in zip(turning, "xyz")]
        return _vector(noisy_felt), _vector(noisy_turning), compass(rotation[1])


class Gnss:
    """Latitude, longitude, altitude."""

    def __init__(self, attributes: Mapping[str, str], reference: GeoReference) -> None:
        self._noise = _Noise(attributes)
        self._reference = reference

    def read(self, x: float, y: float, z: float) -> Vector:
        """One reading at a place on the map: degrees, degrees, metres."""
        place = self._reference.locate(x, y, z)
        return _vector([self._noise.add(value, name) for value, name in zip(place, ("lat", "lon", "alt"))])


def compass(yaw: float) -> float:
    """Direction from north, which is -y, over east, which is +x: 0 to 2 pi."""
    return (yaw + math.pi / 2) % (2 * math.pi)


def _vector(values: list[float]) -> Vector:
    x, y, z = values
    return x, y, z

"""The bytes that go to clients: RPC responses, stream tokens, sensor messages and world states.

The one place that packs anything. Lengths, ids, ranges and finiteness are checked here, since the real client dies
of malformed bytes; the results of RPC calls are checked against their declared type (`schema`) before they come
here. All is little-endian and without padding; angles come in radians and
go in degrees.
"""

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite import schema
from envs.carla.lite.packing import msgpack
from envs.carla.lite.pose import Pose
from envs.carla.lite.schema import WireError

MAX_REQUEST = 16 << 20
MAX_ARRAY = 4096
"""Elements of one array in a request: an array's header alone makes msgpack allocate that many."""
MAX_IMAGE_PIXELS = 4096 * 4096

COLLISION, DEPTH, GNSS, IMU, OBSTACLE, RADAR, SEMANTIC_LIDAR, LIDAR, RGB, SEMANTIC, WORLD = (
    *(0, 1, 4, 5, 7, 9, 10, 11, 13, 14, 17),
)
"""Sensor types of CARLA 0.9.16. Any number that the client does not know kills it."""

_TOKEN = struct.Struct("<IHBB16s")
_HEADER = struct.Struct("<QQd6f")
_WORLD = struct.Struct("<Qdf3iI")
_ACTOR = struct.Struct("<IB15f")
_VEHICLE = struct.Struct("<IB15ffff???ifB?IB24x")
_WALKER = struct.Struct("<IB15f3ff?37x")
_LIGHT = struct.Struct("<IB15f32s4fI?B")
_IMAGE = struct.Struct("<IIf")
_LENGTH = struct.Struct("<I")
ACTOR_SIZE = 119
_DEG = 180 / math.pi
ACTIVE = 1
EMPTY_STATE = bytes(ACTOR_SIZE - _ACTOR.size)


def requests() -> msgpack.Unpacker:
    """A streaming reader of one client's requests, bounded in memory."""
    return msgpack.Unpacker(
        raw=False,
        unicode_errors="replace",
        max_buffer_size=MAX_REQUEST,
        max_array_len=MAX_ARRAY,
        max_map_len=0,  # no request has a map or an extension
        max_ext_len=0,
    )


def value(number: int, result: Any) -> bytes:
    """The response to request `number` that carries a value."""
    return pack([1, number, None, [[1, result]]])


def packed_value(number: int, result: bytes) -> bytes:
    """As `value`, with a result that is packed already."""
    return b"\x94\x01" + pack(number) + b"\xc0\x91\x92\x01" + result


def pack(content: Any) -> bytes:
    """Checked content in msgpack."""
    packed = msgpack.packb(content)
    assert packed is not None
    return packed


def done(number: int) -> bytes:
    """The response of a call without a result."""
    return pack([1, number, None, [[False]]])


def bare(number: int, result: Any) -> bytes:
    """The response of the one call whose result is not wrapped: `apply_batch`."""
    return pack([1, number, None, result])


def failure(number: int, message: str, is_void: bool) -> bytes:
    """The response that raises `RuntimeError(message)` in the client."""
    return pack([1, number, None, [[is_void, [message]] if is_void else [0, [message]]]])


def no_such_method(number: int, message: str) -> bytes:
    """The response of msgpack-rpc itself, which hides the message from the user of the client."""
    return pack([1, number, message, None])


def token(stream_id: int, port: int) -> bytes:
    """A stream's token, 24 bytes; the client takes the host that it gave to `carla.Client`."""
    if not (0 < stream_id < 2**32 and 0 < port < 2**16):
        raise WireError(f"no token for stream {stream_id} at port {port}")
    return _TOKEN.pack(stream_id, port, 1, 0, bytes(16))


def frame(message: bytes) -> bytes:
    """A stream message with its length in front."""
    if not _HEADER.size <= len(message) < 2**31:
        raise WireError(f"a stream message of {len(message)} bytes")
    return _LENGTH.pack(len(message)) + message


def header(kind: int, frame_number: int, time_s: float, pose: Pose) -> bytes:
    """What every stream message begins with, 48 bytes."""
    _check_finite(time_s, *pose)
    return _HEADER.pack(kind, frame_number, time_s, *degrees(pose))


def image(pixels: NDArray[np.uint8], fov_deg: float) -> bytes:
    """A picture, uint8 (H, W, 4) BGRA."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 4 or not pixels.size:
        raise WireError(f"a picture is uint8 (H, W, 4), and this is {pixels.dtype} {pixels.shape}")
    _check_finite(fov_deg)
    return _IMAGE.pack(pixels.shape[1], pixels.shape[0], fov_deg) + pixels.tobytes()


def event(*fields: tuple[schema.Check, Any]) -> bytes:
    """A collision, obstacle, GNSS or IMU measurement: msgpack of checked fields."""
    for check, content in fields:
        check(content)
    return pack([content for _, content in fields])


def lidar(
    angle_rad: float, counts: NDArray[Any], points: NDArray[Any], objects: NDArray[Any] | None = None
) -> bytes:
    """A lidar's sweep.

    Args:
        angle_rad: where it stands.
        counts: points of each channel, (channels,).
        points: float32 (n, 4), channel after channel: x, y, z and intensity, or the cosine of the incidence.
        objects: of a semantic lidar, uint32 (n, 2): actor and label.
    """
    _check_finite(angle_rad)
    packed = rows(points, 4)
    if int(counts.sum()) != len(points):
        raise WireError(f"{len(points)} points in channels of {int(counts.sum())}")
    if objects is not None:
        both = np.empty((len(points), 6), "<u4")
        both[:, :4], both[:, 4:] = np.frombuffer(packed, "<u4").reshape(-1, 4), objects
        packed = both.tobytes()
    return struct.pack("<fI", angle_rad, len(counts)) + counts.astype("<u4").tobytes() + packed


def rows(points: NDArray[Any], columns: int) -> bytes:
    """Finite float32 (n, columns): lidar points, radar detections."""
    if points.ndim != 2 or points.shape[1] != columns or not np.isfinite(points).all():
        raise WireError(f"points must be finite and (n, {columns}), and these are {points.shape}")
    return points.astype("<f4", copy=False).tobytes()


def world_state(
    episode: int, time_s: float, delta_s: float, map_changed: bool, actors: Iterable[bytes]
) -> bytes:
    """What follows the header of a world state: the episode and one record an actor."""
    _check_finite(time_s, delta_s)
    records = b"".join(actors)
    if len(records) % ACTOR_SIZE:
        raise WireError(f"actor records of {len(records)} bytes together")
    return _WORLD.pack(episode, time_s, delta_s, 0, 0, 0, int(map_changed)) + records


Motion = tuple[float, float, float, float, float, float, float, float, float]
"""Velocity in m/s, angular velocity in rad/s about x, y and z, acceleration in m/s^2; three numbers each."""


def to_degrees(radians: float) -> float:
    """An angle as it goes over the wire."""
    return radians * _DEG


def to_radians(degrees: float) -> float:
    """An angle as it comes."""
    return degrees / _DEG


def degrees(pose: Pose) -> tuple[float, ...]:
    """A pose as it goes over the wire."""
    x, y, z, pitch, yaw, roll = pose
    return (x, y, z, pitch * _DEG, yaw * _DEG, roll * _DEG)


def _rates(motion: Motion) -> tuple[float, ...]:
    vx, vy, vz, wx, wy, wz, ax, ay, az = motion
    return (vx, vy, vz, wx * _DEG, wy * _DEG, wz * _DEG, ax, ay, az)


def actor_record(actor_id: int, pose: Pose, motion: Motion) -> bytes:
    """The state of an actor that has nothing special: a sensor, a prop, the spectator."""
    _check_finite(*pose, *motion)
    return _ACTOR.pack(actor_id, ACTIVE, *degrees(pose), *_rates(motion)) + EMPTY_STATE


def vehicle_record(
    actor_id: int,
    pose: Pose,
    motion: Motion,
    control: Sequence[Any],
    speed_limit_kmh: float,
    light: tuple[int, int] | None,
) -> bytes:
    """A vehicle's state; `control` as on the wire, `light` the id and state of the traffic light where it is."""
    _check_finite(*pose, *motion, *control, speed_limit_kmh)
    light_id, light_state = light or (0, 2)
    return _VEHICLE.pack(
        actor_id,
        ACTIVE,
        *degrees(pose),
        *_rates(motion),
        *control,
        speed_limit_kmh,
        light_state,
        light is not None,
        light_id,
        0,
    )


def walker_record(
    actor_id: int, pose: Pose, motion: Motion, control: tuple[float, float, float, float, bool]
) -> bytes:
    """A walker's state; `control` is direction, speed in m/s and whether it jumps."""
    _check_finite(*pose, *motion, *control)
    return _WALKER.pack(actor_id, ACTIVE, *degrees(pose), *_rates(motion), *control)


def light_record(
    actor_id: int,
    pose: Pose,
    signal: str,
    times_s: tuple[float, float, float, float],
    group: int,
    frozen: bool,
    state: int,
) -> bytes:
    """A traffic light's state; `times_s` are green, yellow, red and the time since the last change."""
    _check_finite(*pose, *times_s)
    name = signal.encode("ascii", "replace")[:31]
    return _LIGHT.pack(actor_id, ACTIVE, *degrees(pose), *[0.0] * 9, name, *times_s, group, frozen, state)


def _check_finite(*numbers: float) -> None:
    if not math.isfinite(sum(numbers)):  # an infinity or NaN in any of them survives the sum
        raise WireError(f"numbers must be finite: {numbers}")

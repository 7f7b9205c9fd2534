"""What leaves the server is checked: nothing malformed can be packed."""

import math
import struct

import msgpack
import numpy as np
import pytest

from envs.carla.lite import schema, wire
from envs.carla.lite.pose import Pose
from envs.carla.lite.schema import WireError

HERE = Pose(1.0, 2.0, 3.0, 0.1, math.pi / 2, 0.2)
STILL: wire.Motion = (0.0, 0.0, 0.0, 0.0, 0.0, math.pi, 0.0, 0.0, 0.0)


def test_records_have_the_size_that_the_client_expects():
    control = (0.5, -0.1, 0.0, False, True, False, 3)
    records = [
        wire.actor_record(7, HERE, STILL),
        wire.vehicle_record(7, HERE, STILL, control, 30.0, (9, 1)),
        wire.walker_record(7, HERE, STILL, (1.0, 0.0, 0.0, 1.4, True)),
        wire.light_record(7, HERE, "signal", (10.0, 3.0, 2.0, 1.0), 4, True, 2),
    ]
    assert [len(record) for record in records] == [wire.ACTOR_SIZE] * 4
    for record in records:
        actor_id, state, x, _, _, _, yaw_deg = struct.unpack_from("<IB5f", record)
        assert (actor_id, state, x, round(yaw_deg, 4)) == (7, wire.ACTIVE, 1.0, 90.0)
    assert struct.unpack_from("<3f???ifB?IB", records[1], 65) == pytest.approx(
        (0.5, -0.1, 0.0, False, True, False, 3, 30.0, 1, True, 9, 0)
    )
    assert records[3][65:71] == b"signal"
    assert struct.unpack_from("<4fI?B", records[3], 97) == (10.0, 3.0, 2.0, 1.0, 4, True, 2)


def test_angular_velocity_goes_in_degrees():
    assert struct.unpack_from("<3f", wire.actor_record(1, HERE, STILL), 41)[2] == pytest.approx(180.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_packed(bad):
    with pytest.raises(WireError):
        wire.actor_record(1, HERE._replace(z=bad), STILL)
    with pytest.raises(WireError):
        wire.header(wire.RGB, 1, bad, HERE)
    with pytest.raises(WireError):
        wire.rows(np.array([[0, 0, 0, bad]], np.float32), 4)
    with pytest.raises(WireError):
        schema.Transform([[0, 0, bad], [0, 0, 0]])


def test_a_picture_says_its_size():
    packed = wire.image(np.zeros((3, 5, 4), np.uint8), 90.0)
    assert struct.unpack_from("<IIf", packed) == (5, 3, 90.0)
    assert len(packed) == 12 + 3 * 5 * 4


@pytest.mark.parametrize(
    "pixels", [np.zeros((3, 5, 3), np.uint8), np.zeros((3, 5, 4)), np.zeros((0, 5, 4), np.uint8)]
)
def test_what_is_no_picture_is_not_packed(pixels):
    with pytest.raises(WireError):
        wire.image(pixels, 90.0)


def test_a_world_state_holds_whole_records():
    assert len(wire.world_state(1, 0.0, 0.0, False, [wire.actor_record(1, HERE, STILL)])) == 36 + 119
    with pytest.raises(WireError):
        wire.world_state(1, 0.0, 0.0, False, [b"half a record"])


def test_a_stream_message_is_never_shorter_than_its_header():
    with pytest.raises(WireError):
        wire.frame(b"")
    message = wire.header(wire.IMU, 1, 0.0, HERE)
    assert wire.frame(message) == struct.pack("<I", 48) + message


def test_a_lidar_counts_its_points():
    points, objects = np.ones((3, 4), np.float32), np.array([[1, 2], [3, 4], [5, 6]], np.uint32)
    packed = wire.lidar(0.5, np.array([1, 2]), points, objects)
    assert struct.unpack_from("<f3I4f2I", packed) == (0.5, 2, 1, 2, 1.0, 1.0, 1.0, 1.0, 1, 2)
    with pytest.raises(WireError):
        wire.lidar(0.5, np.array([1, 1]), points)


def test_a_token_names_port_and_stream():
    assert struct.unpack("<IHBB16s", wire.token(5, 2001)) == (5, 2001, 1, 0, bytes(16))
    with pytest.raises(WireError):
        wire.token(0, 2001)


def test_answers():
    assert msgpack.unpackb(wire.value(3, "x")) == [1, 3, None, [[1, "x"]]]
    assert wire.packed_value(300, wire.pack("x")) == wire.value(300, "x")
    assert msgpack.unpackb(wire.done(3)) == [1, 3, None, [[False]]]
    assert msgpack.unpackb(wire.failure(3, "no", is_void=True)) == [1, 3, None, [[True, ["no"]]]]
    assert msgpack.unpackb(wire.failure(3, "no", is_void=False)) == [1, 3, None, [[0, ["no"]]]]


GOOD = {
    "boolean": (schema.boolean, True),
    "token": (schema.token_or_nothing, bytes(24)),
    "optional": (schema.optional(schema.U32), [True, 3]),
    "nothing": (schema.optional(schema.U32), [False]),
    "variant": (schema.variant(schema.U32, schema.text), [1, "a"]),
    "box": (schema.BoundingBox, [[0, 0, 0], (1.0, 1.0, 1.0), [0, 0, 0], 7]),
    "control": (schema.VehicleControl, [0.5, 0, 1, True, False, False, -1]),
    "arrow": (schema.DebugShape, [[2, [[[0, 0, 0], [1, 1, 1], 0.1], 0.2]], [255, 0, 0], 1.0, True]),
}
BAD = {
    "boolean": (schema.boolean, 1),
    "small": (schema.U8, -1),
    "large": (schema.U8, 256),
    "bool as number": (schema.U8, True),
    "token": (schema.token_or_nothing, bytes(23)),
    "optional without": (schema.optional(schema.U32), [True]),
    "optional with too much": (schema.optional(schema.U32), [False, 1]),
    "variant": (schema.variant(schema.U32), [1, 0]),
    "struct too short": (schema.BoundingBox, [[0, 0, 0], [1, 1, 1], [0, 0, 0]]),
    "struct too long": (schema.Vector3D, [0, 0, 0, 0]),
    "text as number": (schema.Vector3D, [0, 0, "0"]),
    "map": (schema.Vector3D, {0: 0, 1: 1, 2: 2}),
    "beyond 32 bits": (schema.real, 1e39),
    "nothing": (schema.real, None),
    "text": (schema.text, b"bytes"),
    "endless text": (schema.text, "a" * (schema.MAX_TEXT + 1)),
}


@pytest.mark.parametrize(("check", "value"), GOOD.values(), ids=GOOD)
def test_good_values_pass(check, value):
    check(value)


@pytest.mark.parametrize(("check", "value"), BAD.values(), ids=BAD)
def test_bad_values_do_not(check, value):
    with pytest.raises(WireError):
        check(value)

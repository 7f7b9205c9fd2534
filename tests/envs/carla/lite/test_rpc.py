"""The RPC port under requests that the real client never sends: every one gets an answer or ends its connection."""

import random
import socket
import struct

import pytest

from tests.envs.carla.lite.server_process import LiteServer, RawClient, RawStream, packed

SPECTATOR = "the spectator's id"


@pytest.fixture
def raw(lite):
    client = RawClient(lite.port)
    yield client
    client.close()


def is_alive(server: LiteServer) -> bool:
    client = RawClient(server.port)
    try:
        return client.call("version") == "0.9.16"
    finally:
        client.close()


def test_requests_may_come_in_any_pieces(raw):
    request = packed([0, 1, "version", [[False]]])
    for byte in request + request:
        raw.socket.sendall(bytes([byte]))
    assert [raw.receive() for _ in range(2)] == [[1, 1, None, [[1, "0.9.16"]]]] * 2


def test_unwaited_calls_are_answered_in_order(raw):
    first = raw.post("set_weather_parameters", [0.0] * 14, is_unwaited=True)
    second = raw.post("version")
    assert raw.receive() == [1, first, None, [[False]]]
    assert raw.receive()[1] == second


def test_an_unknown_method_is_named(raw):
    with pytest.raises(LookupError, match="fly_to_the_moon"):
        raw.call("fly_to_the_moon")


@pytest.mark.parametrize("method", ["start_recorder", "enable_carsim", "get_navigation_mesh"])
def test_what_is_not_supported_is_named(raw, method):
    with pytest.raises(RuntimeError, match=f"{method}.*not supported by the lite server"):
        raw.call(method)


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("get_sensor_token", (), "1 arguments are needed"),
        ("get_sensor_token", (-1,), "from 0 to"),
        ("get_sensor_token", ("1",), "a whole number"),
        ("destroy_actor", (2**32,), "from 0 to"),
        ("apply_control_to_vehicle", (999_999, [0, 0, 0, False, False, False, 0]), "no actor 999999"),
        ("apply_control_to_vehicle", (SPECTATOR, [0, 0, 0, False, False, False, 0]), "not a vehicle"),
        ("apply_control_to_vehicle", (SPECTATOR, [float("nan"), 0, 0, False, False, False, 0]), "finite"),
        ("set_actor_transform", (SPECTATOR, [[1e9, 0, 0], [0, 0, 0]]), "within"),
        ("spawn_actor", ([0, "vehicle.of.dreams", []], [[0, 0, 0], [0, 0, 0]]), "no blueprint"),
        ("spawn_actor", ([0, "spectator", []], [[0, 0, 0], [0, 0, 0]]), "cannot be spawned"),
        ("load_new_episode", ("Town99", False, 65535), "no map 'Town99' here"),
        ("copy_opendrive_to_file", ("<OpenDRIVE/>", [2.0, 50.0, 1.0, 0.6, True, True, True]), "no road"),
        (
            "set_episode_settings",
            ([True, False, [True, 5.0], True, 0.01, 10, 0, False, 1, 1, True],),
            "1.0 at most",
        ),
        ("project_point", ([0, 0, 0], [0, 0, 0, 0], 1), "3 numbers"),
    ],
)
def test_wrong_arguments_get_an_error_that_names_the_method(raw, method, arguments, message):
    spectator = raw.call("get_spectator")[0]
    arguments = [spectator if argument == SPECTATOR else argument for argument in arguments]
    with pytest.raises(RuntimeError, match=f"{method}: .*{message}"):
        raw.call(method, *arguments)


@pytest.mark.parametrize(
    "attributes",
    [
        [["image_size_x", 2, "100000"], ["image_size_y", 2, "100000"]],
        [["image_size_x", 2, "-1"]],
        [["fov", 3, "0"]],
        [["image_size_x", 2, "wide"]],
    ],
)
def test_impossible_cameras_are_refused(raw, attributes):
    with pytest.raises(RuntimeError, match="spawn_actor: "):
        raw.call("spawn_actor", [0, "sensor.camera.rgb", attributes], [[0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    "message",
    [
        b"\xc1\xc1\xc1",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 100,
        packed([0, 1, "version"]),
        packed([2, "version", [[False]]]),
        packed([0, "1", "version", [[False]]]),
        packed([0, 1, "version", []]),
        packed({"jsonrpc": "2.0"}),
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\x00\x00\x0f\xff" * 2000,
    ],
    ids=[
        "no msgpack",
        "http",
        "zeros",
        "short",
        "notice",
        "id",
        "no metadata",
        "map",
        "array",
        "map32",
        "nested",
    ],
)
def test_what_is_no_request_ends_the_connection(lite, raw, message):
    raw.socket.sendall(message)
    assert raw.is_hung_up()
    assert is_alive(lite)


def test_random_bytes_do_no_harm(lite):
    draw = random.Random(0)
    for _ in range(50):
        client = RawClient(lite.port)
        client.socket.sendall(draw.randbytes(draw.randrange(1, 2000)))
        client.close()
        stream = socket.create_connection(("127.0.0.1", lite.port + 1), 5.0)
        stream.sendall(draw.randbytes(draw.randrange(1, 100)))
        stream.close()
    assert is_alive(lite)


def test_random_arguments_do_no_harm(lite, raw):
    """Well-formed nonsense to every method; what it does to the world, the reload at the end undoes."""
    from envs.carla.lite.handlers import METHODS

    draw = random.Random(0)
    things = [
        0,
        1,
        -1,
        2**31,
        1e300,
        -0.0,
        True,
        None,
        "",
        "x" * 300,
        b"\xff" * 24,
        [],
        [[]],
        [0.0] * 3,
        [False],
        [1, 2],
    ]
    for method in sorted(METHODS):
        for _ in range(10):
            arguments = [draw.choice(things) for _ in range(draw.randrange(5))]
            raw.post(method, *arguments)
            assert "internal error" not in str(raw.receive())
    raw.call("load_new_episode", "loop", True, 65535)
    assert is_alive(lite)


def test_batches_of_nonsense_are_answered_command_by_command(raw):
    commands = [
        None,
        [],
        [[99, []]],
        [[1, [12345]]],
        [[0, []]],
        [[18, [1, "lights"]]],
        [[20, [0, "quit"]]],
        [["x", 1]],
    ]
    raw.post("apply_batch", commands, False)
    results = raw.receive()[3]
    assert len(results) == len(commands)
    for ((kind, messages),) in results:
        assert kind == 0
        assert messages[0]


def test_a_client_that_does_not_read_its_answers_is_not_read_from(lite):
    """A flood of requests with large answers: the server keeps a bounded part of it, and serves others."""
    before = lite.memory_mb()
    flood = RawClient(lite.port)
    flood.socket.settimeout(0.5)
    request = packed([0, 1, "get_actor_definitions", [[False]]])
    with pytest.raises(TimeoutError):
        flood.socket.sendall(request * 1_000_000)
    assert is_alive(lite)
    assert lite.memory_mb() < before + 40
    flood.close()


def test_a_flood_of_half_messages_is_bounded(lite):
    before = lite.memory_mb()
    clients = [RawClient(lite.port) for _ in range(8)]
    for client in clients:
        client.socket.sendall(struct.pack(">BI", 0xDB, 15 << 20) + bytes(1 << 20))
    assert is_alive(lite)
    assert lite.memory_mb() < before + 40
    for client in clients:
        client.close()


def test_many_connections_do_no_harm(lite):
    sockets = [socket.create_connection(("127.0.0.1", lite.port + i % 2), 5.0) for i in range(700)]
    for each in sockets:
        each.close()
    assert is_alive(lite)


def test_a_subscriber_that_never_reads_holds_a_tick_for_a_moment_and_is_dropped(lite, raw):
    raw.call("load_new_episode", "loop", True, 65535)
    settings = [True, False, [True, 0.05], True, 0.01, 10, 0, False, 3000, 2000, True]
    raw.call("set_episode_settings", settings)
    size = [["image_size_x", 2, "1000"], ["image_size_y", 2, "1000"]]
    camera = raw.call("spawn_actor", [0, "sensor.camera.rgb", size], [[0, 0, 2], [0, 0, 0]])
    stream_id = struct.unpack_from("<I", camera[5])[0]
    for _ in range(2):
        raw.call("get_sensor_token", stream_id)  # the first tick waits for both
    lazy, keen = RawStream(lite.port, stream_id), RawStream(lite.port, stream_id)
    frames, before = [], 0.0
    for i in range(12):
        raw.post("tick_cue")
        frames.append(struct.unpack_from("<QQ", keen.receive())[1])
        raw.receive()
        before = before if i else lite.memory_mb()
    assert frames == list(range(frames[0], frames[0] + 12))
    assert lite.memory_mb() < before + 25
    received = [0]
    with pytest.raises(ConnectionError):
        received += map(len, iter(lazy.receive, None))
    assert sum(received) < 12 * 4e6
    keen.close()
    raw.call("load_new_episode", "loop", True, 65535)


def test_a_stream_that_nobody_has_stays_silent(lite):
    stream = RawStream(lite.port, 77, timeout_s=0.3)
    with pytest.raises(TimeoutError):
        stream.receive()
    stream.close()


def test_a_new_subscriber_gets_the_newest_world_state_at_once(lite):
    stream = RawStream(lite.port, 1)
    kind, frame = struct.unpack_from("<QQ", stream.receive())
    assert kind == 17
    assert frame > 0
    stream.close()

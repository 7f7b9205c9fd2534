"""RPC methods: the server, its episode, settings, map and streams; and the table of all methods."""

from typing import Any

from envs.carla.lite import (
    handlers_actors,
    handlers_batch,
    handlers_lights,
    handlers_scene,
    handlers_unsupported,
    handlers_vehicles,
    maps,
    wire,
)
from envs.carla.lite.rpc import CallError, Method, Methods, Session
from envs.carla.lite.schema import (
    U16,
    U32,
    U64,
    EpisodeInfo,
    EpisodeSettings,
    MapInfo,
    OpendriveParameters,
    Token,
    array,
    boolean,
    struct,
    text,
)
from envs.carla.lite.settings import Settings
from envs.carla.lite.streams import WORLD_STREAM

VERSION = "0.9.16"
"""Of CARLA's protocol; the client compares it with its own."""
HERE = Methods()
_Manager = struct("Traffic Manager", text, U16)


@HERE.returns(text)
def version(session: Session) -> str:
    """The version that the client wants to see."""
    return VERSION


@HERE.returns(EpisodeInfo)
def get_episode_info(session: Session) -> list[Any]:
    """The episode's number and the stream of world states."""
    host = session.host
    return [host.world.episode, [wire.token(WORLD_STREAM, host.port + 1)]]


@HERE.returns(Token, U32)
def get_sensor_token(session: Session, stream_id: int) -> list[Any]:
    """Where a stream is; whoever asks is about to connect."""
    host = session.host
    host.streams.announce(stream_id)
    return [wire.token(stream_id, host.port + 1)]


@HERE.returns(EpisodeSettings)
def get_episode_settings(session: Session) -> list[Any]:
    """The settings."""
    return session.host.settings.to_wire()


@HERE.returns(U64, EpisodeSettings)
def set_episode_settings(session: Session, settings: list[Any]) -> int:
    """New settings; the frame from which on they hold."""
    session.host.settings = Settings.from_wire(settings)
    return session.host.world.frame


@HERE.returns(U64, ticks=lambda _: True)
def tick_cue(session: Session) -> int:
    """Step the world, in synchronous mode; else the number of the frame that comes next anyway."""
    host = session.host
    return host.tick() if host.settings.is_synchronous else host.world.frame + 1


@HERE.returns(array(text), text)
def get_required_files(session: Session, folder: str) -> list[str]:
    """Files that the client should fetch: none."""
    return []


@HERE.returns(MapInfo)
def get_map_info(session: Session) -> list[Any]:
    """The map's name and the places to begin at."""
    world = session.host.world
    return [f"Carla/Maps/{world.roadmap.name}", world.spawn_points()]


@HERE.returns(text)
def get_map_data(session: Session) -> str:
    """The map as OpenDRIVE."""
    return session.host.world.roadmap.xodr


@HERE.returns(array(text))
def get_available_maps(session: Session) -> list[str]:
    """Maps that `load_world` takes."""
    return [f"/Game/Carla/Maps/{name}" for name in maps.map_names()]


@HERE.nothing(text, boolean, U16)
def load_new_episode(session: Session, map_name: str, reset_settings: bool, layers: int) -> None:
    """Begin again, on this map or another; its layers cannot be chosen."""
    session.host.load(map_name, reset_settings)


@HERE.nothing(text, OpendriveParameters)
def copy_opendrive_to_file(session: Session, xodr: str, parameters: list[Any]) -> None:
    """Take an OpenDRIVE text, which `load_new_episode("OpenDriveMap")` then makes the world."""
    session.host.offer(xodr)


@HERE.returns(boolean, U16)
def is_traffic_manager_running(session: Session, port: int) -> bool:
    """Whether some client runs a Traffic Manager on this port of its own."""
    return port in session.host.managers


@HERE.returns(_Manager, U16)
def get_traffic_manager_running(session: Session, port: int) -> list[Any]:
    """Its address and port."""
    if port not in session.host.managers:
        raise CallError(f"no Traffic Manager runs on port {port}")
    return [session.host.managers[port][0], port]


@HERE.returns(boolean, _Manager)
def add_traffic_manager_running(session: Session, manager: list[Any]) -> bool:
    """Make a Traffic Manager known to other clients, as long as the one that runs it stays."""
    address, port = manager
    if port in session.host.managers:
        return False
    session.host.managers[port] = (address, session)
    return True


@HERE.nothing(U16)
def destroy_traffic_manager(session: Session, port: int) -> None:
    """It runs no longer."""
    session.host.managers.pop(port, None)


METHODS: dict[str, Method] = {
    **handlers_unsupported.HERE,
    **handlers_actors.HERE,
    **handlers_vehicles.HERE,
    **handlers_lights.HERE,
    **handlers_scene.HERE,
    **handlers_batch.HERE,
    **HERE,
}
"""All methods that the server knows."""

"""RPC methods: traffic lights, and street lights, of which there are none."""

from typing import Any

from envs.carla.lite.lights import LightState
from envs.carla.lite.rpc import Methods, Session
from envs.carla.lite.schema import U32, BoundingBox, StreetLight, array, boolean, integer, real, text

HERE = Methods()


@HERE.nothing(U32, integer(0, 4))
def set_traffic_light_state(session: Session, actor_id: int, state: int) -> None:
    """Show a state until the next change."""
    session.host.world.light(actor_id).lights.set_state(actor_id, LightState(state))


@HERE.nothing(U32, real)
def set_traffic_light_green_time(session: Session, actor_id: int, seconds: float) -> None:
    """How long green lasts."""
    session.host.world.light(actor_id).lights.set_times(actor_id, green=seconds)


@HERE.nothing(U32, real)
def set_traffic_light_yellow_time(session: Session, actor_id: int, seconds: float) -> None:
    """How long yellow lasts."""
    session.host.world.light(actor_id).lights.set_times(actor_id, yellow=seconds)


@HERE.nothing(U32, real)
def set_traffic_light_red_time(session: Session, actor_id: int, seconds: float) -> None:
    """How long all lights are red before the next group's turn."""
    session.host.world.light(actor_id).lights.set_times(actor_id, red=seconds)


@HERE.nothing(U32, boolean)
def freeze_traffic_light(session: Session, actor_id: int, is_frozen: bool) -> None:
    """Stop a light and those of its junction, or let them go on."""
    session.host.world.light(actor_id).lights.freeze(actor_id, is_frozen)


@HERE.nothing(boolean)
def freeze_all_traffic_lights(session: Session, is_frozen: bool) -> None:
    """Stop all lights, or let them go on."""
    session.host.world.crossings.lights.freeze_all(is_frozen)


@HERE.nothing(U32)
def reset_traffic_light_group(session: Session, actor_id: int) -> None:
    """Let a light's junction start over."""
    session.host.world.light(actor_id).lights.reset_group(actor_id)


@HERE.nothing()
def reset_all_traffic_lights(session: Session) -> None:
    """Let all start over."""
    session.host.world.crossings.lights.reset_all()


@HERE.returns(array(U32), U32)
def get_group_traffic_lights(session: Session, actor_id: int) -> list[int]:
    """Ids of the lights of its junction."""
    return session.host.world.light(actor_id).lights.group_of(actor_id)


@HERE.returns(array(BoundingBox), U32)
def get_light_boxes(session: Session, actor_id: int) -> list[Any]:
    """The boxes of a light's lamps, in the world."""
    return session.host.world.light(actor_id).lamp_boxes()


@HERE.returns(array(StreetLight), text)
def query_lights_state(session: Session, endpoint: str) -> list[Any]:
    """Street lights: none."""
    return []


@HERE.nothing(text, array(StreetLight), boolean)
def update_lights_state(session: Session, endpoint: str, lights: list[Any], discard_client: bool) -> None:
    """Street lights: none."""

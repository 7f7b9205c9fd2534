"""RPC methods of CARLA that the lite server does not do: they answer with an error that names them."""

from typing import Any

from envs.carla.lite.rpc import CallError, Method, Session

_WITHOUT_RESULT = (
    "enable_carsim use_carsim_road enable_chrono_physics restore_physx_physics set_bones_transform blend_pose "
    "get_pose_from_animation apply_color_texture_to_objects apply_float_color_texture_to_objects send "
    "enable_sensor_for_ros disable_sensor_for_ros stop_recorder stop_replayer set_replayer_time_factor "
    "set_replayer_ignore_hero set_replayer_ignore_spectator update_day_night_cycle open_vehicle_door "
    "close_vehicle_door set_wheel_pitch_angle console_command"
)
_WITH_RESULT = (
    "get_bones_transform get_actor_component_names get_actor_bone_names get_actor_socket_names "
    "get_actor_bone_world_transforms get_actor_bone_relative_transforms get_actor_socket_world_transforms "
    "get_actor_socket_relative_transforms get_actor_component_world_transform "
    "get_actor_component_relative_transform get_vehicle_bone_world_transforms get_wheel_pitch_angle "
    "is_sensor_enabled_for_ros get_gbuffer_token enable_gbuffers are_gbuffers_enabled set_ignored_vehicles "
    "get_ignored_vehicles start_recorder show_recorder_file_info show_recorder_collisions "
    "show_recorder_actors_blocked replay_file request_file get_navigation_mesh"
)


def _refuse(is_void: bool) -> Method:
    def refuse(_session: Session, *_arguments: Any) -> None:
        raise CallError("this is not supported by the lite server")

    return Method(refuse, None, form="void" if is_void else "value")


HERE: dict[str, Method] = {
    **{name: _refuse(True) for name in _WITHOUT_RESULT.split()},
    **{name: _refuse(False) for name in _WITH_RESULT.split()},
}

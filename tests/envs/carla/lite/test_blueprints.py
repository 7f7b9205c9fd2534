import math
from itertools import pairwise

import pytest

from envs.carla.lite.blueprints import LIBRARY, TYPE_CODES, find
from envs.carla.lite.vehicle_spec import SPECS
from utils.errors import UserError

WANTED = [
    "vehicle.tesla.model3",
    "vehicle.lincoln.mkz_2020",
    "vehicle.audi.tt",
    "vehicle.mini.cooper_s",
    "vehicle.carlamotors.firetruck",
    "vehicle.yamaha.yzf",
    "vehicle.bh.crossbike",
    "sensor.camera.rgb",
    "sensor.camera.depth",
    "sensor.camera.semantic_segmentation",
    "sensor.lidar.ray_cast",
    "sensor.lidar.ray_cast_semantic",
    "sensor.other.collision",
    "sensor.other.lane_invasion",
    "sensor.other.obstacle",
    "sensor.other.imu",
    "sensor.other.gnss",
    "sensor.other.radar",
    "walker.pedestrian.0001",
    "spectator",
]


def test_the_library_has_what_users_ask_for_under_growing_numbers() -> None:
    assert set(WANTED) <= set(LIBRARY)
    assert [blueprint.uid for blueprint in LIBRARY.values()] == list(range(1, len(LIBRARY) + 1))
    assert all(blueprint.id == name for name, blueprint in LIBRARY.items())


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_every_default_is_a_value_of_its_type(name: str) -> None:
    blueprint = LIBRARY[name]
    names = [attribute.name for attribute in blueprint.attributes]
    assert len(set(names)) == len(names)
    assert "role_name" in names
    given = {attribute.name: attribute.value for attribute in blueprint.attributes}
    assert blueprint.values(given) == given
    for attribute in blueprint.attributes:
        for value in attribute.recommended:
            assert blueprint.values({attribute.name: value})[attribute.name] == value
    assert set(blueprint.tags.split(",")) == set(name.split("."))


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_vehicle_has_carlas_attributes_and_a_sane_spec(name: str) -> None:
    blueprint, spec = find(name), SPECS[name]
    values = blueprint.values({})
    assert values["number_of_wheels"] == str(spec.number_of_wheels)
    assert values["base_type"] in ("car", "van", "truck", "bus", "motorcycle", "bicycle")
    assert values["role_name"] == "autopilot"
    assert "hero" in blueprint.by_name["role_name"].recommended
    assert {"color", "driver_id", "generation", "has_lights", "special_type", "sticky_control"} <= set(values)
    assert blueprint.extent == spec.extent
    assert blueprint.label == spec.label
    assert spec.front_axle_m < spec.wheelbase_m < 2 * spec.extent[0]
    assert spec.track_m < 2 * spec.extent[1]
    # an upshift must not land below the revs of the downshift
    ratios = spec.gear_ratios
    assert all(low / high * spec.up_ratio > spec.down_ratio for high, low in pairwise(ratios))


def test_sensors_have_carlas_defaults() -> None:
    camera = find("sensor.camera.rgb").values({})
    assert (camera["image_size_x"], camera["image_size_y"], camera["fov"]) == ("800", "600", "90.0")
    assert (camera["sensor_tick"], camera["gamma"], camera["exposure_mode"]) == ("0.0", "2.2", "histogram")
    assert camera["enable_postprocess_effects"] == "True"
    lidar = find("sensor.lidar.ray_cast").values({})
    assert (lidar["channels"], lidar["range"], lidar["points_per_second"]) == ("32", "10.0", "56000")
    assert "noise_stddev" not in find("sensor.lidar.ray_cast_semantic").values({})
    imu, gnss = find("sensor.other.imu").values({}), find("sensor.other.gnss").values({})
    assert len([name for name in imu if name.startswith("noise_")]) == 10
    assert len([name for name in gnss if name.startswith("noise_")]) == 7
    assert find("sensor.other.radar").values({})["horizontal_fov"] == "30.0"
    assert find("sensor.other.obstacle").values({})["distance"] == "5.0"


def test_what_a_client_gives_is_taken_or_refused_by_name() -> None:
    camera = find("sensor.camera.rgb")
    assert camera.values({"image_size_x": "96", "fov": "100"})["image_size_x"] == "96"
    for name, value, word in (
        ("image_size_x", "wide", "whole number"),
        ("image_size_x", "1e400", "whole number"),
        ("fov", "nan", "finite number"),
        ("enable_postprocess_effects", "maybe", "true or false"),
        ("image_size_z", "1", "no attribute 'image_size_z'"),
    ):
        with pytest.raises(UserError, match=word):
            camera.values({name: value})
    for colour in ("1,2", "1,2,256", "red", "1,2,3,4", "-1,0,0"):
        with pytest.raises(UserError, match="from 0 to 255"):
            find("vehicle.audi.tt").values({"color": colour})
    with pytest.raises(UserError, match=r"no blueprint 'vehicle\.nobody\.has'"):
        find("vehicle.nobody.has")


def test_constants_stay_what_they_are() -> None:
    truck = find("vehicle.carlamotors.firetruck")
    assert truck.values({"number_of_wheels": "3"})["number_of_wheels"] == "4"


def test_colours_are_colours_of_the_real_client() -> None:
    carla = pytest.importorskip("carla")
    for spec in SPECS.values():
        for colour in spec.colours:
            assert carla.Color(*map(int, colour.split(","))).a == 255
    # ActorAttributeType of the wheel
    kinds = {"bool": "Bool", "int": "Int", "float": "Float", "string": "String", "colour": "RGBColor"}
    for kind, name in kinds.items():
        assert TYPE_CODES[kind] == int(getattr(carla.ActorAttributeType, name))


def test_nothing_moves_a_prop_and_a_person_weighs_something() -> None:
    assert find("static.prop.streetbarrier").mass_kg == math.inf
    assert find("walker.pedestrian.0001").mass_kg == 75

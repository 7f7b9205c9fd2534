"""What a vehicle is made of: sizes, weights, engine, brakes, tyres; and the vehicles that the lite server has.

The figures are rounded ones of road cars of each kind, chosen so that a saloon reaches 100 km/h in 7 to 10 s, stops
from there in 36 to 45 m and corners at about 0.9 g. They are not those of CARLA's own vehicles: its saloons turn
their wheels by up to 70 degrees and have tyres of friction 3.5 in the units of another tyre model.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

GRAVITY_MPS2 = 9.81
AIR_KG_M3 = 1.2

Curve = tuple[tuple[float, float], ...]

_SALOON_STEERING: Curve = ((0.0, 1.0), (20.0, 0.9), (60.0, 0.8), (120.0, 0.7))
_TWO_WHEEL_STEERING: Curve = ((0.0, 1.0), (10.0, 0.5), (30.0, 0.2), (100.0, 0.05))
_FLAT_TORQUE: Curve = ((0.0, 1.0), (0.45, 1.0), (1.0, 0.4))
_PETROL_TORQUE: Curve = ((0.0, 0.6), (0.25, 0.85), (0.6, 1.0), (0.85, 0.95), (1.0, 0.8))


@dataclass(frozen=True)
class VehicleSpec:
    """One kind of vehicle. Its origin is the centre of gravity's foot on the ground; x forward, y right."""

    blueprint_id: str
    extent: tuple[float, float, float]
    """half length, half width, half height, m"""
    mass_kg: float
    wheelbase_m: float
    front_axle_m: float
    """from the centre of gravity forward to the front axle"""
    track_m: float
    cg_height_m: float
    torque_curve: Curve
    """(rpm, N m) at full throttle"""
    max_rpm: float
    gear_ratios: tuple[float, ...]
    final_ratio: float
    drive_front: float
    """share of the driving torque that the front axle gets: 0, 0.5 or 1"""
    wheel_radius_m: float = 0.35
    max_steer_deg: float = 40.0
    steering_curve: Curve = _SALOON_STEERING
    """(km/h, share of max_steer_deg)"""
    tyre_friction: float = 1.0
    """on a dry road; the map's grip multiplies it"""
    stiffness_front: float = 14.0
    """cornering force per radian of slip and newton of load"""
    stiffness_rear: float = 17.0
    max_brake_nm: tuple[float, float] = (2100.0, 1200.0)
    """for each wheel of the front and of the rear axle"""
    max_hand_brake_nm: float = 3000.0
    """for each rear wheel"""
    drag_coefficient: float = 0.3
    engine_damping: float = 0.12
    """drag of the engine without throttle, N m per rad/s of its shaft"""
    shift_s: float = 0.25
    up_ratio: float = 0.85
    """share of max_rpm above which the gearbox shifts up"""
    down_ratio: float = 0.4
    yaw_inertia_scale: float = 0.8
    """beside that of a box of even density"""
    base_type: str = "car"
    special_type: str = ""
    generation: int = 1
    number_of_wheels: int = 4
    has_lights: bool = True
    colours: tuple[str, ...] = ("17,37,103", "140,16,16", "180,180,180", "20,20,20", "235,235,235")
    """recommended ones, "r,g,b"; the first is the default"""
    label: int = 14
    """CityObjectLabel: Car 14, Truck 15, Bus 16, Motorcycle 18, Bicycle 19"""

    @cached_property
    def rear_axle_m(self) -> float:
        """From the centre of gravity back to the rear axle."""
        return self.wheelbase_m - self.front_axle_m

    @cached_property
    def yaw_inertia(self) -> float:
        """About the upright axis, kg m2."""
        length, width = 2 * self.extent[0], 2 * self.extent[1]
        return self.yaw_inertia_scale * self.mass_kg * (length * length + width * width) / 12

    @cached_property
    def max_steer_rad(self) -> float:
        """Largest angle of the front wheels."""
        return math.radians(self.max_steer_deg)

    @cached_property
    def brake_n(self) -> tuple[float, float, float]:
        """Largest force at the road of the front brakes, the rear brakes and the hand brake, N."""
        wheels = min(2, self.number_of_wheels / 2) / self.wheel_radius_m
        front, rear = self.max_brake_nm
        return front * wheels, rear * wheels, self.max_hand_brake_nm * wheels

    @cached_property
    def air_drag(self) -> float:
        """Resistance of the air per square of the speed, N s2/m2."""
        area_m2 = 4 * self.extent[1] * self.extent[2] * 0.85
        return 0.5 * AIR_KG_M3 * self.drag_coefficient * area_m2


def _torque(shape: Curve, peak_nm: float, max_rpm: float) -> Curve:
    return tuple((share * max_rpm, part * peak_nm) for share, part in shape)


_MODEL3 = VehicleSpec(
    blueprint_id="vehicle.tesla.model3",
    extent=(2.40, 1.08, 0.74),
    mass_kg=1845.0,
    wheelbase_m=2.87,
    front_axle_m=1.42,
    track_m=1.58,
    cg_height_m=0.46,
    torque_curve=_torque(_FLAT_TORQUE, 290.0, 15000.0),
    max_rpm=15000.0,
    gear_ratios=(1.0,),
    final_ratio=9.0,
    drive_front=0.5,
    max_brake_nm=(2300.0, 1300.0),
    drag_coefficient=0.24,
    engine_damping=0.012,
    special_type="electric",
    generation=2,
)
_MKZ = replace(
    _MODEL3,
    blueprint_id="vehicle.lincoln.mkz_2020",
    extent=(2.46, 1.06, 0.75),
    mass_kg=1700.0,
    wheelbase_m=2.85,
    front_axle_m=1.28,
    cg_height_m=0.52,
    torque_curve=_torque(_PETROL_TORQUE, 350.0, 6500.0),
    max_rpm=6500.0,
    gear_ratios=(4.1, 2.6, 1.75, 1.25, 0.95, 0.74),
    final_ratio=3.1,
    drive_front=1.0,
    engine_damping=0.1,
    drag_coefficient=0.28,
    special_type="",
)
_TT = replace(
    _MKZ,
    blueprint_id="vehicle.audi.tt",
    extent=(2.09, 0.99, 0.69),
    mass_kg=1410.0,
    wheelbase_m=2.5,
    front_axle_m=1.1,
    cg_height_m=0.48,
    torque_curve=_torque(_PETROL_TORQUE, 330.0, 6800.0),
    max_rpm=6800.0,
    drive_front=0.5,
    generation=1,
    has_lights=False,
)
_COOPER = replace(
    _TT,
    blueprint_id="vehicle.mini.cooper_s",
    extent=(1.90, 0.99, 0.74),
    mass_kg=1250.0,
    wheelbase_m=2.47,
    front_axle_m=1.05,
    cg_height_m=0.52,
    torque_curve=_torque(_PETROL_TORQUE, 240.0, 6500.0),
    max_rpm=6500.0,
    drive_front=1.0,
    wheel_radius_m=0.31,
    max_brake_nm=(1500.0, 800.0),
)
_SPRINTER = replace(
    _MKZ,
    blueprint_id="vehicle.mercedes.sprinter",
    extent=(2.96, 0.99, 1.28),
    mass_kg=2600.0,
    wheelbase_m=3.66,
    front_axle_m=1.8,
    cg_height_m=0.8,
    torque_curve=_torque(_PETROL_TORQUE, 380.0, 4400.0),
    max_rpm=4400.0,
    drive_front=0.0,
    tyre_friction=0.85,
    drag_coefficient=0.36,
    max_brake_nm=(3000.0, 2000.0),
    base_type="van",
    label=15,
)
_FIRETRUCK = replace(
    _SPRINTER,
    blueprint_id="vehicle.carlamotors.firetruck",
    extent=(4.23, 1.45, 1.91),
    mass_kg=11000.0,
    wheelbase_m=4.8,
    front_axle_m=2.6,
    track_m=2.1,
    cg_height_m=1.2,
    torque_curve=_torque(_PETROL_TORQUE, 1300.0, 2600.0),
    max_rpm=2600.0,
    gear_ratios=(6.5, 4.2, 2.8, 1.9, 1.35, 1.0),
    final_ratio=5.0,
    wheel_radius_m=0.5,
    tyre_friction=0.75,
    drag_coefficient=0.6,
    engine_damping=0.6,
    max_brake_nm=(16000.0, 14000.0),
    max_hand_brake_nm=16000.0,
    special_type="emergency",
    base_type="truck",
    colours=("160,20,20",),
)
_BUS = replace(
    _FIRETRUCK,
    blueprint_id="vehicle.mitsubishi.fusorosa",
    extent=(5.14, 1.97, 2.13),
    mass_kg=6500.0,
    torque_curve=_torque(_PETROL_TORQUE, 700.0, 2900.0),
    max_rpm=2900.0,
    max_brake_nm=(9500.0, 8500.0),
    special_type="",
    base_type="bus",
    label=16,
    colours=_MODEL3.colours,
)
_YZF = replace(
    _TT,
    blueprint_id="vehicle.yamaha.yzf",
    extent=(1.10, 0.43, 0.62),
    mass_kg=280.0,
    wheelbase_m=1.4,
    front_axle_m=0.7,
    steering_curve=_TWO_WHEEL_STEERING,
    track_m=0.0,
    cg_height_m=0.35,
    torque_curve=_torque(_PETROL_TORQUE, 62.0, 11000.0),
    max_rpm=11000.0,
    gear_ratios=(2.6, 1.9, 1.55, 1.35, 1.2, 1.1),
    final_ratio=4.6,
    drive_front=0.0,
    wheel_radius_m=0.3,
    max_brake_nm=(600.0, 350.0),
    max_hand_brake_nm=400.0,
    drag_coefficient=0.6,
    engine_damping=0.02,
    base_type="motorcycle",
    number_of_wheels=2,
    label=18,
)
_CROSSBIKE = replace(
    _YZF,
    blueprint_id="vehicle.bh.crossbike",
    extent=(0.74, 0.43, 0.80),
    mass_kg=90.0,
    wheelbase_m=1.05,
    front_axle_m=0.52,
    cg_height_m=0.35,
    torque_curve=((0.0, 45.0), (60.0, 40.0), (110.0, 12.0), (140.0, 0.0)),
    max_rpm=140.0,
    gear_ratios=(1.2, 0.8, 0.5),
    final_ratio=1.0,
    wheel_radius_m=0.35,
    max_brake_nm=(160.0, 90.0),
    max_hand_brake_nm=120.0,
    drag_coefficient=0.7,
    engine_damping=0.0,
    base_type="bicycle",
    has_lights=False,
    label=19,
)
_CHARGER = replace(
    _MKZ,
    blueprint_id="vehicle.dodge.charger_2020",
    extent=(2.50, 1.05, 0.77),
    mass_kg=1900.0,
    wheelbase_m=3.05,
    front_axle_m=1.45,
    torque_curve=_torque(_PETROL_TORQUE, 380.0, 6200.0),
    max_rpm=6200.0,
    drive_front=0.0,
    max_brake_nm=(2400.0, 1400.0),
)
SPECS: dict[str, VehicleSpec] = {
    spec.blueprint_id: spec
    for spec in (
        *(_MODEL3, _MKZ, _TT, _COOPER, _CHARGER),
        *(_SPRINTER, _FIRETRUCK, _BUS, _YZF, _CROSSBIKE),
    )
}
"""The vehicles of the lite server, by blueprint id."""

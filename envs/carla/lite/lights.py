"""Traffic lights: who has green, and for how long.

The lights of one junction are one machine. They fall into groups that take turns: a group is green, then yellow,
then red, and after a moment in which all are red the next group is green. Nothing here knows where the lights are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum


class LightState(IntEnum):
    """TrafficLightState on the wire."""

    RED = 0
    YELLOW = 1
    GREEN = 2
    OFF = 3
    UNKNOWN = 4


@dataclass(frozen=True)
class Times:
    """How long a group's turn takes, s; `red` is the moment in which all are red."""

    green: float = 10.0
    yellow: float = 3.0
    red: float = 2.0

    def of(self, state: LightState) -> float:
        """How long a turn stays in a state."""
        return {LightState.GREEN: self.green, LightState.YELLOW: self.yellow}.get(state, self.red)


@dataclass
class Light:
    """One light as the clients see it."""

    light_id: int
    group: int
    state: LightState = LightState.RED
    elapsed_s: float = 0.0
    """how long it has been in this state"""


_NEXT = {LightState.GREEN: LightState.YELLOW, LightState.YELLOW: LightState.RED}


@dataclass
class Junction:
    """Lights whose groups take turns."""

    lights: list[Light]
    is_frozen: bool = False
    _times: dict[int, Times] = field(default_factory=dict)
    _order: list[int] = field(default_factory=list)
    _turn: int = 0
    _phase: LightState = LightState.GREEN
    _since_s: float = 0.0

    def __post_init__(self) -> None:
        self._order = sorted({light.group for light in self.lights})
        self._times = {group: Times() for group in self._order}
        self.reset()

    def reset(self) -> None:
        """Start over: the first group is green."""
        self._turn, self._phase, self._since_s = 0, LightState.GREEN, 0.0
        for light in self.lights:
            light.elapsed_s = 0.0
        self._show()

    def step(self, dt: float) -> None:
        """Let `dt` seconds pass."""
        if self.is_frozen:
            return
        self._since_s += dt
        for light in self.lights:
            light.elapsed_s += dt
        # a step changes the phase at most once: a phase of no length still shows for a step
        length = self._times[self._order[self._turn]].of(self._phase)
        if self._since_s >= length - 1e-9:
            self._since_s = max(self._since_s - length, 0.0)
            if self._phase is LightState.RED:
                self._turn = (self._turn + 1) % len(self._order)
            self._phase = _NEXT.get(self._phase, LightState.GREEN)
            self._show()

    def times(self, group: int) -> Times:
        """How long a group's turn takes."""
        return self._times[group]

    def set_times(self, group: int, times: Times) -> None:
        """Change how long a group's turn takes, from now on."""
        self._times[group] = times

    def _show(self) -> None:
        """Give every light the state that the turn says; what `set_state` said is over."""
        for light in self.lights:
            is_on = light.group == self._order[self._turn]
            state = self._phase if is_on else LightState.RED
            if light.state is not state:
                light.state, light.elapsed_s = state, 0.0


class TrafficLights:
    """All lights of a map.

    Args:
        places: for each light's id its junction and its group; a junction below 0 means that the light's group has no
            junction, and goes through its phases alone.
    """

    def __init__(self, places: Mapping[int, tuple[int, int]]) -> None:
        members: dict[tuple[int, int], list[Light]] = {}
        for light_id, (junction, group) in sorted(places.items()):
            key = (junction, -1) if junction >= 0 else (-1, group)
            members.setdefault(key, []).append(Light(light_id, group))
        self.junctions = [Junction(lights) for lights in members.values()]
        self._by_id = {light.light_id: (light, where) for where in self.junctions for light in where.lights}

    def step(self, dt: float) -> None:
        """Let `dt` seconds pass at every junction."""
        for junction in self.junctions:
            junction.step(dt)

    def light(self, light_id: int) -> Light:
        """A light's state and how long it has had it."""
        return self._by_id[light_id][0]

    def times(self, light_id: int) -> Times:
        """How long the turn of a light's group takes."""
        light, junction = self._by_id[light_id]
        return junction.times(light.group)

    def set_times(self, light_id: int, **changes: float) -> None:
        """Change the `green`, `yellow` or `red` seconds of a light's group; below 0 is 0."""
        light, junction = self._by_id[light_id]
        changes = {name: max(value, 0.0) for name, value in changes.items()}
        junction.set_times(light.group, replace(junction.times(light.group), **changes))

    def set_state(self, light_id: int, state: LightState) -> None:
        """Show a state on one light until its junction's next change; for good if that is frozen."""
        light, _ = self._by_id[light_id]
        light.state, light.elapsed_s = LightState(state), 0.0

    def is_frozen(self, light_id: int) -> bool:
        """Whether a light's junction stands still."""
        return self._by_id[light_id][1].is_frozen

    def freeze(self, light_id: int, is_frozen: bool) -> None:
        """Stop a light's junction as it is, or let it go on."""
        self._by_id[light_id][1].is_frozen = is_frozen

    def freeze_all(self, is_frozen: bool) -> None:
        """Stop every junction, or let all go on."""
        for junction in self.junctions:
            junction.is_frozen = is_frozen

    def group_of(self, light_id: int) -> list[int]:
        """Ids of all lights of a light's junction, itself among them."""
        return [light.light_id for light in self._by_id[light_id][1].lights]

    def reset_group(self, light_id: int) -> None:
        """Let a light's junction start over."""
        self._by_id[light_id][1].reset()

    def reset_all(self) -> None:
        """Let every junction start over."""
        for junction in self.junctions:
            junction.reset()

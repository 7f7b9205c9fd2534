"""Parts of a frame that matter for driving, as (top, bottom, left, right) in fractions of it: the envs know best."""

from envs.specs import Spec, kind

Regions = dict[str, tuple[float, float, float, float]]

HORIZON = 0.4
"""Height of the horizon in the pictures of CARLA's camera."""
STRIP = 0.875
"""Where CarRacing's black strip with the bars begins."""


def regions(spec: Spec) -> Regions:
    """The regions of an env's frames; none where nothing is known of them."""
    options = spec.get("options", {})
    if kind(spec["name"]) == "carracing":
        road = 1.0 if options.get("crop_hud") else STRIP  # cropped, the rows above the strip fill the frame
        car = (0.625 / STRIP * road, 0.844 / STRIP * road, 0.42, 0.58)
        strip: Regions = {} if options.get("crop_hud") else {"hud": (STRIP, 1.0, 0.0, 1.0)}
        return {"road": (0.0, road, 0.0, 1.0), "car": car, **strip}
    if kind(spec["name"]) == "carla":
        if options.get("obs") == "birdview":
            return {"road": (0.0, 1.0, 0.25, 0.75)}
        return {"road": (HORIZON, 1.0, 0.0, 1.0), "sky": (0.0, HORIZON, 0.0, 1.0)}
    return {}

"""A featherweight server that speaks CARLA's wire protocol: no GPU, no game engine."""

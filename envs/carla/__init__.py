"""CARLA: the environment on a real server or on the lite one."""

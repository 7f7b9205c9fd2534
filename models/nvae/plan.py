"""The plan of scales: a pure function from the config to every resolution, channel count and slice of z."""

from dataclasses import dataclass

from models.nvae.config import NVAEConfig


@dataclass(frozen=True)
class GroupSpec:
    """One latent group."""

    index: int
    """Place in the hierarchy, 0 at the top."""
    start: int
    """First number of the flat z that is this group's."""
    size: int
    """How many numbers of z are this group's."""

    @property
    def stop(self) -> int:
        """One past its last number."""
        return self.start + self.size


@dataclass(frozen=True)
class ScaleSpec:
    """One resolution of the two networks."""

    resolution: int
    """Height and width of the feature maps."""
    encoder_channels: int
    """Channels of the bottom-up maps; 0 at the finest scale, which the bottom-up network skips."""
    decoder_channels: int
    """Channels of the top-down maps."""
    groups: tuple[GroupSpec, ...]
    """Latent groups here; none at the finest scales."""


@dataclass(frozen=True)
class Plan:
    """The whole hierarchy, coarsest scale first."""

    scales: tuple[ScaleSpec, ...]

    @property
    def latent_scales(self) -> tuple[ScaleSpec, ...]:
        """The scales that hold latent groups."""
        return tuple(scale for scale in self.scales if scale.groups)

    @property
    def groups(self) -> tuple[GroupSpec, ...]:
        """All groups from the top down; their sizes sum to the latent size."""
        return tuple(group for scale in self.scales for group in scale.groups)

    def describe(self) -> str:
        """A table of the plan, one line for each scale."""
        lines = ["scale    bottom-up  top-down  latent groups (slices of z)"]
        for scale in self.scales:
            groups = ", ".join(f"{g.index}: {g.size} (z[{g.start}:{g.stop}])" for g in scale.groups) or "-"
            size = f"{scale.resolution}x{scale.resolution}"
            lines.append(
                f"{size:<8} {scale.encoder_channels or '-':>9}  {scale.decoder_channels:>8}  {groups}"
            )
        return "\n".join(lines)


def share(latent_size: int, num_groups: int) -> list[int]:
    """Split latent_size into num_groups nearly equal parts; the first ones get what is left over."""
    part, left_over = divmod(latent_size, num_groups)
    return [part + (i < left_over) for i in range(num_groups)]


def plan(config: NVAEConfig) -> Plan:
    """The scales of a config, coarsest first, and how its groups share the latent size."""
    sizes = share(config.latent_size, sum(config.groups))
    groups = [GroupSpec(i, sum(sizes[:i]), size) for i, size in enumerate(sizes)]
    depth = len(config.decoder_channels)
    encoder_channels = (0, *config.encoder_channels)
    scales = []
    for level in range(depth):
        here = config.groups[level] if level < len(config.groups) else 0
        fine = depth - 1 - level
        scales.append(
            ScaleSpec(
                resolution=config.image_size // 2 ** (fine + 1),
                encoder_channels=encoder_channels[fine],
                decoder_channels=config.decoder_channels[fine],
                groups=tuple(groups[:here]),
            )
        )
        groups = groups[here:]
    return Plan(tuple(scales))

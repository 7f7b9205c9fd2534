"""What a run of the whole pipeline is: its settings and its presets."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from data import trained
from envs import specs
from envs.specs import CarlaFlags, CarRacingFlags
from utils import cli
from utils.errors import check, check_not_negative, check_positive

Preset = Literal["carracing", "quick", "tiny"]


@dataclass(frozen=True)
class PipelineConfig:
    """The whole run."""

    logs: cli.LogsArg = Path("exp_dir")
    """run directory"""
    dataset: Path | None = None
    """dataset folder, which --fresh leaves as it is; RUN/dataset, which it removes, by default"""
    env: str = "CarRacing-v2"
    """real environment"""
    dream_of: Path | None = None
    """run directory, or folder of pretrained/, whose dream is the env, with --env dream"""
    carla: specs.CarlaArg = None
    """CARLA's server, as in generation_script.py; of several each worker takes one"""
    carla_env: CarlaFlags = field(default_factory=CarlaFlags)
    rounds: int = 2
    """collect-train-evolve cycles; a finished run with a larger number goes on, unless its rounds are dream only and
    its C has been evolved for real"""
    rollouts: int = 150
    """rollouts of the first round"""
    first_policy: Literal["brown", "white", "lane", "mixed"] = "mixed"
    """who drives in them; mixed: mostly the env's own lane follower, with noise"""
    rollouts_per_round: int = 100
    """rollouts that each further round adds: the current controller with noise, and some others"""
    failures_per_round: int = 0
    """rollouts besides of where the evolution in the dream has got to, which may have learnt to exploit M"""
    lapses: float = 0.0
    """chance at each decision that the lane follower looks away, as in generation_script.py"""
    seq_len: int = 334
    """longest rollout, in decisions"""
    rollout_patience: int | None = None
    """a rollout is given up after this many decisions without a reward; after random driving most would be grass"""
    action_repeat: int = 3
    """simulator steps for which an action is held: more of the track for each frame that V and M must see"""
    vae_preset: Preset = "quick"
    """preset of trainvae.py"""
    mdrnn_preset: Literal["carracing", "quick", "long", "tiny"] = "quick"
    """preset of trainmdrnn.py"""
    vae_steps: int = 1500
    """updates of V in a round"""
    vae_rounds: int | None = None
    """V is trained in so many rounds, then stays as it is, or M and C would have to learn what its numbers mean
    again; in all by default"""
    mdrnn_steps: int = 1500
    """updates of M in a round"""
    mdrnn_hidden: int | None = None
    """numbers in M's memory h; as the preset of trainmdrnn.py has it by default"""
    first_starts: float = 0.0
    """share of dreams that begin where episodes begin, rather than wherever something had just been paid"""
    driver_starts: float = 0.0
    """share of dreams that begin where the newest evolved drivers got to, as in trainmdrnn.py"""
    dream_generations: int = 30
    """generations in the dream, in each round; with 0 C never dreams: the yardstick for dreams"""
    dream_validate_every: int = 5
    """generations in the dream between two validations: what a dream pays more for may be worse driving"""
    dream_sigma: float = 0.05
    """first standard deviation in the dream"""
    dream_fine_sigma: float | None = None
    """first standard deviation in the dreams of further rounds, around the best controller of those before; without
    it every round begins at zeros"""
    dream_temperature: float = 1.0
    """temperature of dreams"""
    dream_pop_size: int | None = None
    """candidates in a generation of the dream; as many as in the real environment by default"""
    dream_samples: int = 16
    """dreams for each candidate"""
    horizon: int = 150
    """decisions in a dream: the longer it is, the more M errs and the more there is to exploit"""
    dream_pace: float | None = None
    """what a decision in a dream is paid at most: what a fast driver misses stays missed"""
    dream_due: float | None = None
    """what a decision in a dream should pay: what it falls short of that counts four times"""
    dream_patience: int = 100
    """a dream is given up after this many decisions in a row without a reward"""
    lost_penalty: float = 0.0
    """return that a dream loses which is given up"""
    generations: int = 10
    """generations in the real environment, in each round but the last; with 0 the rounds are dream only"""
    last_generations: int = 200
    """generations in the real environment in the last round; a finished run with a larger number goes on; with 0
    here and for --fine-generations C only ever dreams"""
    fine_generations: int = 0
    """generations that follow on more tracks: on few of them good candidates are told apart by luck"""
    fine_samples: int = 12
    """real tracks for each candidate in these"""
    fine_hard_tracks: float = 0.0
    """share of these that are hard for the mean controller, as in traincontroller.py"""
    fine_validation_episodes: int = 64
    """fixed tracks on which controllers are compared in these: they differ by less"""
    pop_size: int = 32
    """candidates in a generation"""
    n_samples: int = 4
    """real tracks for each candidate"""
    patience: int = 40
    """a training episode is given up after this many decisions without a new tile"""
    strain_penalty: float = 1.0
    """return that candidates lose for each unit of strain, as in traincontroller.py"""
    polish_sigma: float = 0.05
    """first standard deviation in the real environment, around the best controller so far"""
    validation_episodes: int = 16
    """fixed tracks on which controllers are compared"""
    episodes: int = 100
    """held-out tracks of the final score"""
    renderer: Literal["gymnasium", "fast"] = "gymnasium"
    """renderer of the final score"""
    yardstick: bool = True
    """the plain VAE is trained as long as the NVAE, to compare them in the report; --no-yardstick leaves it out"""
    max_workers: int | None = None
    """worker processes; one a core by default"""
    seed: int = 0
    """seed of everything"""
    fresh: bool = False
    """start over: remove what an earlier run left in RUN"""
    dry_run: bool = False
    """print the commands and stop"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, "rounds", "rollouts", "seq_len", "action_repeat")
        check_positive(self, "vae_steps", "vae_rounds", "mdrnn_steps", "mdrnn_hidden")
        check_positive(self, "rollout_patience", "dream_samples", "horizon")
        check_positive(self, "dream_pace", "dream_due", "dream_patience")
        check_positive(
            self,
            "n_samples",
            "fine_samples",
            "fine_validation_episodes",
            "patience",
            "polish_sigma",
            "dream_sigma",
            "dream_fine_sigma",
            "dream_validate_every",
            "validation_episodes",
            "episodes",
        )
        check_positive(self, "max_workers")
        check_not_negative(
            self,
            "rollouts_per_round",
            "failures_per_round",
            "strain_penalty",
            "lost_penalty",
        )
        check_not_negative(self, "dream_temperature", "dream_generations")
        check_not_negative(self, "generations", "last_generations", "fine_generations", "seed")
        check(
            self.dream_generations or self.ends_for_real,
            "with --dream-generations 0 and --last-generations 0 nothing is evolved; pass one of them.",
        )
        check(
            self.ends_for_real or not self.generations or self.rounds == 1,
            f"with --last-generations 0 C shall only ever dream, but with --generations {self.generations} it is "
            "evolved for real in the rounds before; pass --generations 0, too.",
        )
        check(
            self.dream_generations or self.rounds == 1,
            "with --dream-generations 0 there is one round, for the others collect what dreams led to: "
            "pass --rounds 1.",
        )
        check(
            self.is_dream == (self.dream_of is not None),
            "--env dream and --dream-of DIR, the run directory whose dream it is, belong together.",
        )
        check(
            not self.is_dream or (self.rounds == 1 and self.first_policy in ("brown", "white")),
            "in the dream there is one round of random driving: pass --rounds 1 --first-policy brown "
            "(--preset dream does).",
        )
        spec = specs.make_spec(self.env, 64, None, CarRacingFlags(), self.carla_env)
        specs.at_simulator(spec, self.carla)  # both refuse what is another env's
        check(
            self.rounds == 1 or self.rollouts_per_round + self.failures_per_round,
            "with --rollouts-per-round 0 nothing is new in later rounds; pass more, or --rounds 1.",
        )
        check(
            round(self.fine_hard_tracks * self.fine_samples) or not self.fine_hard_tracks,
            f"--fine-hard-tracks {self.fine_hard_tracks} of --fine-samples {self.fine_samples} is no whole track; "
            "pass more.",
        )
        shares = {
            "first-starts": self.first_starts,
            "driver-starts": self.driver_starts,
            "fine-hard-tracks": self.fine_hard_tracks,
            "lapses": self.lapses,
        }
        for flag, share in shares.items():
            check(0 <= share <= 1, f"--{flag} must lie in [0, 1]; got {share}.")
        for flag, size in (("--pop-size", self.pop_size), ("--dream-pop-size", self.dream_pop_size or 2)):
            check(size >= 2, f"{flag} must be at least 2; got {size}: candidates are ranked.")

    @property
    def ends_for_real(self) -> bool:
        """Is C evolved in the real environment at the end?"""
        return self.last_generations + self.fine_generations > 0

    @property
    def is_dream(self) -> bool:
        """Whether the env is the dream of another run."""
        return specs.kind(self.env) == "dream"

    @property
    def is_carla(self) -> bool:
        """Whether the real env is one of CARLA's."""
        return specs.kind(self.env) == "carla"

    @property
    def has_guide(self) -> bool:
        """Whether the real env is known to have a driver who knows the road, who is scored as a yardstick."""
        return specs.kind(self.env) in ("carla", "carracing")


CARLA: dict[str, Any] = {
    "env": "carla",
    "action_repeat": 4,
    "seq_len": 375,
    "horizon": 60,
    "first_starts": 0.3,
    "dream_sigma": 0.1,
    "strain_penalty": 0.0,
}
"""What CARLA asks for: a decision lasts 0.2 s, and a lap takes the guide about 200 of them."""
CARRACING: dict[str, Any] = {
    "lapses": 0.025,
    "rollout_patience": 20,
    "vae_rounds": 1,
    "mdrnn_preset": "long",
    "driver_starts": 0.7,
    "dream_pop_size": 64,
    "horizon": 40,
    "dream_temperature": 0.7,
    "dream_pace": 3.3,
    "dream_due": 1.0,
    "dream_patience": 12,
    "lost_penalty": 300.0,
    "dream_fine_sigma": 0.03,
    "dream_validate_every": 4,
    "generations": 0,
    "polish_sigma": 0.04,
}
"""What CarRacing asks for: docs/honest-dream.md has the measurements."""
DREAM: dict[str, Any] = {
    "env": "DreamCarRacing-v2",
    "dream_of": trained.SHIPPED,
    "rounds": 1,
    "first_policy": "brown",
    "rollout_patience": 20,
    "yardstick": False,
}
"""What a dream asks for: the random policy records, as in the first World Models."""
TINY = PipelineConfig(
    logs=Path("exp_dir/tiny"),
    rollouts=12,
    rollouts_per_round=10,
    seq_len=40,
    vae_preset="tiny",
    mdrnn_preset="tiny",
    vae_steps=6,
    mdrnn_steps=6,
    dream_generations=2,
    generations=1,
    last_generations=2,
    pop_size=4,
    n_samples=1,
    dream_samples=2,
    horizon=20,
    validation_episodes=2,
    episodes=2,
    renderer="fast",
)
CARLA_QUICK = PipelineConfig(
    logs=Path("exp_dir/carla-quick"),
    **CARLA,
    rollouts=800,
    rollouts_per_round=200,
    mdrnn_steps=3000,
    last_generations=80,
    n_samples=3,
    validation_episodes=32,
    yardstick=False,
)
PRESETS = {
    "carracing": PipelineConfig(
        logs=Path("exp_dir/carracing"),
        **CARRACING,
        rounds=4,
        rollouts=3000,
        rollouts_per_round=250,
        failures_per_round=150,
        vae_steps=4500,
        mdrnn_steps=2000,
        mdrnn_hidden=512,
        dream_generations=24,
        dream_samples=80,
        last_generations=40,
        fine_generations=60,
        fine_samples=8,
        fine_hard_tracks=0.5,
        validation_episodes=32,
        fine_validation_episodes=128,
    ),
    "quick": PipelineConfig(
        logs=Path("exp_dir/quick"),
        **CARRACING,
        rollouts=1000,
        failures_per_round=100,
        dream_generations=20,
        dream_samples=40,
        last_generations=20,
        n_samples=3,
        validation_episodes=8,
        episodes=20,
    ),
    "carla": replace(
        CARLA_QUICK, logs=Path("exp_dir/carla"), rounds=3, last_generations=160, n_samples=4, yardstick=True
    ),
    "carla-quick": CARLA_QUICK,
    "dream": PipelineConfig(
        logs=Path("exp_dir/dream"),
        **DREAM,
        rollouts=1500,
        mdrnn_preset="long",
        mdrnn_steps=3000,
        dream_pop_size=64,
        horizon=100,
        last_generations=20,
    ),
    "tiny": TINY,
    "dream-tiny": replace(TINY, logs=Path("exp_dir/dream-tiny"), **DREAM),
    "carla-tiny": replace(TINY, logs=Path("exp_dir/carla-tiny"), **{**CARLA, "seq_len": 12, "horizon": 20}),
}

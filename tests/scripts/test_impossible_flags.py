"""Flags that make no sense, over all six commands: one sentence, exit code 2, and no file touched."""

import pytest
import torch

from tests.scripts.six_commands import COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_flags_are_one_sentence(refuse, command: str):
    assert "--no-such-flag; see " in refuse(command, "--no-such-flag")
    assert "perhaps you meant --seed" in refuse(command, "--sead", "1")
    assert "--seed" in refuse(command, "--seed", "x")
    assert "--seed" in refuse(command, "--seed")
    assert "huge" in refuse(command, "--preset", "huge")
    assert ".py --help" in refuse(command, "--max-steps=")
    assert "--seed must not be negative; got -1" in refuse(command, "--seed", "-1")


POSITIVE = {
    "collect": "rollouts threads seq-len size action-repeat",
    "V": "epochs max-minutes batch-size learning-rate clip-norm eval-every max-frames validation-frames",
    "M": "hidden-size components seq-len validation-batches termination-positive-weight",
    "C": "n-samples generations max-hours sigma0 patience pace due validate-every validation-episodes "
    "slots max-workers horizon",
    "score": "episodes resync max-workers slots horizon",
    "pipeline": "rounds rollouts seq-len action-repeat vae-steps mdrnn-steps dream-samples horizon "
    "rollout-patience n-samples patience polish-sigma validation-episodes episodes max-workers "
    "dream-validate-every fine-validation-episodes dream-pace dream-patience mdrnn-hidden "
    "dream-due",
}
NOT_NEGATIVE = {
    "collect": "noise param-noise",
    "V": "max-steps min-learning-rate warmup-steps weight-decay free-nats spectral-weight",
    "M": "reward-weight termination-weight",
    "C": "temperature strain-penalty lost-penalty expo",
    "score": "temperature",
    "pipeline": "rollouts-per-round dream-generations last-generations lost-penalty",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_impossible_numbers_are_refused(refuse, command: str):
    fresh = () if command in ("collect", "score") else ("--fresh",)
    for name in POSITIVE[command].split():
        for value in ("0", "-1"):
            assert f"--{name} must be positive; got {value}" in refuse(command, f"--{name}", value, *fresh)
    for name in NOT_NEGATIVE[command].split():
        assert name.replace("-", "") in refuse(command, f"--{name}", "-1", *fresh).replace("_", "").replace(
            "-", ""
        )


@pytest.mark.parametrize(
    ("command", "flags", "words"),
    [
        ("C", ("--pop-size", "1"), "--pop-size must be at least 2"),
        ("pipeline", ("--pop-size", "1"), "--pop-size must be at least 2"),
        ("pipeline", ("--fine-hard-tracks", "-1"), "--fine-hard-tracks must lie in [0, 1]"),
        (
            "pipeline",
            ("--fine-samples", "8", "--fine-hard-tracks", "0.05"),
            "--fine-hard-tracks 0.05 of --fine-samples 8 is no whole track",
        ),
        (
            "pipeline",
            ("--rollouts-per-round", "0", "--failures-per-round", "0"),
            "nothing is new in later rounds; pass more, or --rounds 1",
        ),
        ("C", ("--hard-tracks", "1.5"), "--hard-tracks must lie in [0, 1]"),
        (
            "C",
            ("--n-samples", "4", "--hard-tracks", "0.1"),
            "--hard-tracks 0.1 of --n-samples 4 is no whole track",
        ),
        ("C", ("--sigma0", "inf"), "--sigma0 must be a finite number"),
        ("C", ("--target-return", "nan"), "--target-return must be a finite number"),
        ("C", ("--temperature", "nan"), "--temperature must be a finite number"),
        ("C", ("--max-hours", "nan"), "--max-hours must be a finite number"),
        ("V", ("--learning-rate", "inf"), "--learning-rate must be a finite number"),
        ("V", ("--learning-rate", "nan"), "--learning-rate must be a finite number"),
        ("V", ("--weight-decay", "nan"), "--weight-decay must be a finite number"),
        ("V", ("--clip-norm", "nan"), "--clip-norm must be positive"),
        ("V", ("--residual-scale", "nan"), "residual_scale"),
        ("V", ("--free-nats", "inf"), "free_nats"),
        ("V", ("--latent-size", "1"), "latent_size must be at least 3"),
        ("V", ("--groups",), "latent group"),
        ("V", ("--encoder-channels",), "decoder_channels must have one number more"),
        ("V", ("--arch", "vae"), "64x64 frames, not 16x16"),
        ("V", ("--stage", "mdrnn"), "begins with vae"),
        ("V", ("--stage", "../x"), "begins with vae"),
        ("M", ("--termination-positive-weight", "nan"), "must be a finite number"),
        ("M", ("--first-starts", "1.1"), "--first-starts must lie in [0, 1]"),
        ("M", ("--driver-starts", "-0.1"), "--driver-starts must lie in [0, 1]"),
        ("M", ("--env", "carla"), "--env carla asks for CarlaCircuit-v0"),
        ("V", ("--env", "karla"), "there is no env 'karla'"),
        ("C", ("--env", "carla"), "--env carla asks for CarlaCircuit-v0"),
        ("C", ("--carla", "localhost:2000"), "--carla names CARLA's server, but the env is CarRacing-v2"),
        ("score", ("--env", "CarlaRoute-v0"), "--env CarlaRoute-v0 asks for CarlaRoute-v0"),
        ("collect", ("--weather", "WetNoon"), "--weather is a flag for carla, but --env is CarRacing-v2"),
        ("pipeline", ("--traffic", "2"), "--traffic is a flag for carla, but --env is CarRacing-v2"),
        ("pipeline", ("--env", "karla"), "there is no env 'karla'"),
        ("pipeline", ("--env", "carla", "--carla", "here"), "a CARLA server's address is HOST:PORT"),
        ("pipeline", ("--first-starts", "2"), "--first-starts must lie in [0, 1]"),
        ("collect", ("--lapses", "1.1"), "--lapses must lie in [0, 1]"),
        ("pipeline", ("--lapses", "-0.1"), "--lapses must lie in [0, 1]"),
        ("collect", ("--noise", "inf"), "--noise must be a finite number"),
        ("collect", ("--policy", "drunk"), "invalid choice 'drunk'"),
        ("score", ("--record", "film.avi"), ".mp4 or .gif"),
        ("pipeline", ("--vae-preset", "huge"), "invalid choice 'huge'"),
    ],
)
def test_impossible_values_are_refused_before_fresh_removes_anything(
    refuse, command: str, flags: tuple[str, ...], words: str
):
    fresh = () if command in ("collect", "score") else ("--fresh",)
    assert words in refuse(command, *fresh, *flags)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("command", ["V", "M", "C", "score"])
def test_a_device_that_is_not_there_is_refused(refuse, command: str):
    fresh = () if command == "score" else ("--fresh",)
    assert "--device cuda is not available" in refuse(command, "--device", "cuda", *fresh)

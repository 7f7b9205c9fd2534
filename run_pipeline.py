"""All stages in order, several rounds, resumable: collect, train V, train M, evolve C in the dream, then for real.

Every further round collects with the current controller, and with the driver that found what M does not know, trains
V and M on with all the data, and evolves again. Each stage is one of the root scripts, run as you would run it by
hand; the commands are printed. Writes RUN/pipeline.json (what is done), RUN/test-*.json (scores), RUN/drive.mp4 and
RUN/report.html. Without a preset it is the quick one.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.pipeline import PRESETS, PipelineConfig
from data.pipeline_plan import SAME_TIME, Step, plan
from utils import cli
from utils.errors import check
from utils.files import LOCK, check_writable, only_writer, read_json, remove, sweep_temp, write_json
from utils.parallel import available_cores
from utils.report import TITLES, score_line, score_title, write_report

HERE = Path(__file__).resolve().parent
NOTE_EVERY_S = 10.0
"""The time that a step has taken is noted this often."""
STOP_S = 30.0
"""So long a command may take to stop."""
MADE = ("vae", "vae-plain", "mdrnn", "test-*.json", "drive.mp4", "report.html")
MADE += ("controller", "controller-old*", "controller-dream", "controller-dream-old*")
"""What a run leaves in RUN, besides pipeline.json and, without --dataset, the dataset."""
START_OVER = {"fresh": True}
"""What pipeline.json holds while --fresh removes the rest."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not done yet."""
    config = cli.parse(
        PipelineConfig,
        argv,
        prog="run_pipeline.py",
        description=__doc__,
        presets=PRESETS,
        default=PRESETS["quick"],
    )
    steps = plan(config)
    if config.dry_run:
        print(cli.describe(config))
        print("\n".join(f"# {step.name}\npython {shlex.join(step.command)}" for step in steps))
        return
    check_writable(config.logs / "pipeline.json")
    with only_writer(config.logs / LOCK, f"another run_pipeline.py is at work in {config.logs}"):
        run_left(config, steps)
    show_result(config)


def run_left(config: PipelineConfig, steps: Sequence[Step]) -> None:
    """Run the steps that have not been done."""
    record = open_record(config)
    sweep_temp(config.logs)
    left = [step for step in steps if step.name not in record["done"]]
    if not left:
        more = "--last-generations" if config.ends_for_real else "--rounds"
        print(f"{config.logs} is finished; go on with a larger {more}, or start over with --fresh.")
    for step in left:
        run_step(config, step, record)


def open_record(config: PipelineConfig) -> dict[str, Any]:
    """What is done already, from RUN/pipeline.json.

    Raises:
        UserError: the run directory was made with other settings.
    """
    path = config.logs / "pipeline.json"
    if config.fresh and config.logs.exists():
        is_ours = path.exists() or all(child.name.endswith(LOCK) for child in config.logs.iterdir())
        check(is_ours, f"{config.logs} holds no pipeline run; --fresh will not remove it.")
        start_over(config)
    settings = cli.to_json(replace(config, fresh=False, dry_run=False))
    record = read_json(path) if path.exists() else {}
    if record == START_OVER:  # what was begun is finished
        start_over(config)
        record = {}
    if not path.exists() or (_is_record(record) and not (record["done"] or record.get("spent"))):
        # nothing to contradict yet
        record = {"config": settings, "cores": available_cores(), "done": {}, "spent": {}}
    check(_is_record(record), f"{path} is no record of a pipeline; move it away, or pass another --logs.")
    before = {**cli.to_json(PipelineConfig()), **record["config"]}  # an older run lacks newer settings
    record.setdefault("spent", {})
    changed = [name for name in settings if settings[name] != before[name]]
    longer = ("rounds", "last_generations", "fine_generations")
    free = {*longer, "validation_episodes", "fine_validation_episodes"}
    free |= {"max_workers", "logs", "carla", "yardstick"}
    check(
        set(changed) <= free,
        f"{config.logs} was made with other settings ({', '.join(changed)}); use those again (see {path}), "
        "another --logs, or --fresh to start over.",
    )
    ends = real_steps(before["rounds"])
    check_rounds(config, before["rounds"], begun={*record["done"], *record["spent"]}, ends=ends)
    if any(settings[name] != before[name] for name in longer):
        record["done"] = {name: step for name, step in record["done"].items() if name.startswith("round")}
        for step in {*ends, *real_steps(config.rounds)} & record["done"].keys():  # its time counts on
            record["spent"][step] = record["done"].pop(step)["seconds"]
    record["config"] = settings
    write_json(path, record)
    return record


def start_over(config: PipelineConfig) -> None:
    """Remove what a run left; if that is stopped, pipeline.json says to the next that it has begun.

    Raises:
        UserError: a stage of it is still at work.
    """
    for lock in (*config.logs.glob(f".*{LOCK}"), *config.logs.glob(f"*/{LOCK}")):
        with only_writer(lock, f"a stage of an earlier run is still at work in {config.logs}"):
            pass
    path = config.logs / "pipeline.json"
    write_json(path, START_OVER)
    made = MADE if config.dataset else [*MADE, "dataset"]
    remove(child for pattern in made for child in config.logs.glob(pattern))
    path.unlink()


def real_steps(number: int) -> list[str]:
    """Names of the steps in which a round evolves C for real, for as long as it is the last."""
    return [f"round {number}: {step}" for step in ("C in the real environment", "C on more tracks")]


def check_rounds(config: PipelineConfig, before: int, begun: set[str], ends: list[str]) -> None:
    """Refuse another number of rounds than before where that comes too late.

    Args:
        config: what is asked for now.
        before: the rounds asked for before.
        begun: names of the steps that are done, or have been begun.
        ends: names of those in which the last of these rounds evolved C for real.

    Raises:
        UserError: later rounds have been begun, or rounds that are dream only would go on from a driver evolved for
            real.
    """
    mend = f"pass --rounds {before}, or another --logs."
    beyond = tuple(f"round {number}:" for number in range(config.rounds + 1, before + 1))
    is_beyond = any(name.startswith(beyond) for name in begun)
    check(not is_beyond, f"{config.logs} is beyond round {config.rounds}; {mend}")
    check(
        config.rounds <= before or config.generations or begun.isdisjoint(ends),
        f"the rounds of {config.logs} are dream only, but its driver has been evolved for real by now, and further "
        f"dreams would begin with him; {mend}",
    )


def _is_record(value: Any) -> bool:
    parts = (value.get("config"), value.get("done")) if isinstance(value, dict) else (None,)
    return all(isinstance(part, dict) for part in parts) and "rounds" in value["config"]


def run_step(config: PipelineConfig, step: Step, record: dict[str, Any]) -> None:
    """Run one command; note it as done.

    Raises:
        UserError: it failed; its own message stands above.
    """
    minutes = (
        read_json(config.logs / "vae" / "quality.json")["train_seconds"] / 60
        if SAME_TIME in step.command
        else 0
    )
    command = [f"{max(minutes, 0.01):.2f}" if part == SAME_TIME else part for part in step.command]
    print(f"\n== {step.name}\n   python {shlex.join(command)}", flush=True)
    spent = record["spent"]
    before, began = spent.get(step.name, 0.0), time.monotonic()

    def note_time() -> None:
        """What a step that is killed and run again has cost."""
        spent[step.name] = round(before + time.monotonic() - began, 1)
        write_json(config.logs / "pipeline.json", record)

    code = call([sys.executable, str(HERE / command[0]), *command[1:]], note_time)
    if code in (cli.INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    check(code == 0, f"'{step.name}' failed (see above); {cli.again()} to go on from there.")
    seconds = spent.pop(step.name)
    record["done"][step.name] = {"seconds": seconds, "command": shlex.join(["python", *command])}
    write_json(config.logs / "pipeline.json", record)
    write_report(config.logs)


def call(command: list[str], note_time: Callable[[], None]) -> int:
    """Run a command, with a note of the time now and then and at its end; its exit status."""
    # torch's waiting threads else spin on busy cores: 4 x slower
    process = subprocess.Popen(command, env={"OMP_WAIT_POLICY": "PASSIVE"} | os.environ)
    try:
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=NOTE_EVERY_S)
            note_time()
    except BaseException as error:  # a command never outlives its pipeline; it saves what it has
        if not isinstance(error, KeyboardInterrupt) or isinstance(error, cli.Terminated):
            process.terminate()  # Ctrl-C it has got itself
        try:
            process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
    note_time()
    return process.returncode


def show_result(config: PipelineConfig) -> None:
    """Print the score and where the report is."""
    report = write_report(config.logs)
    print()
    for name in TITLES:
        path = config.logs / f"test-{name}.json"
        if path.exists():
            print(f"{score_title(name)}: {score_line(read_json(path))}")
    print(f"report: {report.resolve()}")


if __name__ == "__main__":
    cli.run(main)

"""The options of fairseq-train: composed of preset, run and the user's own, and read as fairseq-train reads them."""

import contextlib
import io
import logging
import math
from pathlib import Path

import gradinit_mt
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.record.record import TENSORS
from gradinit_mt.training import TrainingError
from gradinit_mt.training.presets import BELONGS_TO, COMMON, PRESETS

# What the launcher sets itself, and would lose track of.
OWNED = ("save_dir", "seed", "user_dir", "source_lang", "target_lang", "distributed_world_size", "cpu")

# What may change when a run is continued: where its files lie, what it logs and keeps. (The number of updates may too,
# if --total-num-update fixes the schedule.)
FREE = {"user_dir", "save_dir", "tensorboard_logdir", "num_workers", "log_interval", "keep_last_epochs"}

# Files of other runs: the same file is the same option, however its path is spelled.
PATHS = ("gradinit_from", "finetune_from_model")

USAGE = 2  # argparse's exit status for options that it refuses
USER_DIR = str(Path(gradinit_mt.__file__).parent)


def compose(
    preset_name: str,
    corpus: PreparedCorpus,
    save_dir: Path,
    seed: int,
    further: list[str],
    tokens_per_update: int | None = None,
    gpus: int = 0,
    processes: int = 1,
) -> list[str]:
    """The arguments of fairseq-train: what all runs share, the preset, this run, and last the user's own.

    Where the user makes another choice than the preset, the settings that belong to the preset's choice are left out,
    such as Adam's betas with ``--optimizer sgd``.

    Raises:
        TrainingError: among the user's own is an option that the launcher sets, or one that fairseq-train refuses.
    """
    preset = PRESETS[preset_name]
    settings = {
        **COMMON,
        **preset.options,
        "user-dir": USER_DIR,
        "source-lang": corpus.source,
        "target-lang": corpus.target,
        "seed": seed,
        "save-dir": str(save_dir),
        "tensorboard-logdir": str(save_dir / "tensorboard"),
        "log-format": "json",
        "max-tokens": math.ceil((tokens_per_update or preset.tokens_per_update) / processes),
        "gradinit-max-tokens": math.ceil(preset.gradinit_tokens / processes),
        "distributed-world-size": processes,
    }
    if not gpus:
        settings["cpu"] = True
        if processes > 1:
            settings |= {"distributed-backend": "gloo", "ddp-backend": "legacy_ddp"}
    chosen = _choices(further)
    arguments = [str(corpus.bin)]
    for name, value in settings.items():
        owner = BELONGS_TO.get(name)
        if owner is None or chosen[owner] in (None, settings[owner]):
            arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    if not further:
        return arguments
    ours, all_together = given(arguments), given([*arguments, *further])
    for name in OWNED:
        if all_together.get(name) != ours.get(name):
            option = name.replace("_", "-")
            raise TrainingError(f"--{option} after --: the launcher sets it; see scripts/train.sh --help")
    arguments += further
    for name in PATHS:
        if name in all_together:
            arguments += [f"--{name.replace('_', '-')}", _real_path(all_together[name])]
    return arguments


def _real_path(path: str) -> str:
    """However it is spelled; a record of GradInit by the save dir that it is in."""
    if not Path(path).exists():  # fairseq knows places that are no paths
        return path
    real = Path(path).resolve()
    return str(real.parent if real.name == TENSORS else real)


def given(arguments: list[str]) -> dict:
    """The options that stand in ``arguments``, by fairseq's name of each, with the values that fairseq-train takes.

    Raises:
        TrainingError: fairseq-train would refuse them.
    """
    options = _fairseq_options()
    with _refusals_raised():
        parser = options.get_training_parser()
        return vars(options.parse_args_and_arch(parser, arguments, suppress_defaults=True))


def _choices(arguments: list[str]) -> dict[str, str | None]:
    """What the arguments choose of that to which other options belong; None where they leave the choice."""
    owners = {owner: owner.replace("-", "_") for owner in BELONGS_TO.values()}
    if not arguments:
        return dict.fromkeys(owners)
    fairseq_options = _fairseq_options()
    with _refusals_raised():
        parser = fairseq_options.get_training_parser()
        parser.set_defaults(**dict.fromkeys([*owners.values(), "user_dir"]))
        found, _ = parser.parse_known_args(arguments)
    if found.user_dir not in (None, USER_DIR):  # parsing the rest would import it
        raise TrainingError("--user-dir after --: the launcher sets it; see scripts/train.sh --help")
    return {owner: getattr(found, name) for owner, name in owners.items()}


def _fairseq_options():
    """fairseq's parsers, with the plugin registered; importing them takes seconds."""
    logging.getLogger("fairseq").setLevel(logging.WARNING)  # or it advertises TensorBoard
    from fairseq import options

    from gradinit_mt import lr_schedulers, models, tasks  # noqa: F401 - registers the plugin's options

    return options


@contextlib.contextmanager
def _refusals_raised():
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as error:
        if error.code != USAGE:  # --help, or a signal
            raise
        reason = said.getvalue().strip().rpartition("error: ")[2]
        raise TrainingError(f"fairseq-train refuses its options: {reason}") from error
    except (SyntaxError, ValueError, RuntimeError) as error:
        raise TrainingError(f"fairseq-train refuses its options: {error}") from error


def changed(before: list[str], now: list[str]) -> list[str]:
    """The options that differ between two runs' arguments, but for those that may."""
    # fairseq's parser imports the user dir, which may have been another checkout
    old, new = given([*before, "--user-dir", USER_DIR]), given(now)
    for run in (old, new):
        run.update({name: _real_path(run[name]) for name in PATHS if name in run})
    free = FREE | ({"max_update"} if "total_num_update" in new else set())
    return [
        f"{name.replace('_', '-')} {_shown(old.get(name))} there, {_shown(new.get(name))} now"
        for name in sorted((old.keys() | new.keys()) - free)
        if old.get(name) != new.get(name)
    ]


def _shown(value: object) -> object:
    """As on the command line, where lists of one are single values and flags have none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return {None: "unset", True: "set"}.get(value, value) if isinstance(value, bool | None) else value

"""The options of fairseq-train: composed of preset, run and user's choice, and parsed as fairseq-train parses them."""

import argparse
import contextlib
import io
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import gradinit_mt
from gradinit_mt.common.errors import UserError, differing
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.plugin.checkpoints import untrusted
from gradinit_mt.record.record import TENSORS
from gradinit_mt.training.presets import BELONGS_TO, COMMON, COUNTERPARTS, PRESETS

# Set by the launcher, which relies on their values.
OWNED = ("save_dir", "seed", "user_dir", "source_lang", "target_lang", "distributed_world_size", "cpu")

# May change when a run is continued: where files are, what is logged and kept, how it is validated, and when it ends.
# (So may the number of updates if the schedule does not depend on it, see ``ENDLESS``.)
FREE = {"user_dir", "save_dir", "tensorboard_logdir", "num_workers", "log_interval", "keep_last_epochs"}
FREE |= {"keep_interval_updates", "keep_best_checkpoints", "patience", "stop_time_hours"}
FREE |= {"watch_updates", "watch_language_model_updates", "max_epoch", "max_tokens_valid", "batch_size_valid"}

# Schedules whose learning rates do not depend on --max-update. (With --total-num-update, others do not either.)
ENDLESS = ("fixed", "inverse_sqrt", "reduce_lr_on_plateau")

# Files of other runs: different spellings of a path are the same option.
PATHS = ("gradinit_from", "finetune_from_model")

# What a start takes from a checkpoint of another run.
RESETS = ("--reset-optimizer", "--reset-lr-scheduler", "--reset-meters", "--reset-dataloader")

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
    """The arguments of fairseq-train: the common ones, the preset's, this run's, and last the user's (``further``).

    Where the user makes another choice than the preset, options that belong to the preset's choice are left out, such
    as Adam's betas with ``--optimizer sgd``.

    Raises:
        UserError: ``further`` has an option that the launcher sets, one that fairseq-train refuses, or one whose text
            it would run as code.
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
    if gpus:
        settings["capture-steps"] = "auto"
    else:
        settings["cpu"] = True
        if processes > 1:
            settings |= {"distributed-backend": "gloo", "ddp-backend": "legacy_ddp"}
    return _with_further([str(corpus.bin), *_flags(settings, _choices(further))], further)


def _flags(settings: dict, chosen: dict[str, str | None]) -> list[str]:
    """The settings as arguments, without those that belong to another choice than the user's."""
    arguments = []
    for name, value in settings.items():
        owner = BELONGS_TO.get(name)
        choice = "" if owner is None else settings[owner]
        if owner is None or chosen[owner] in (None, choice, COUNTERPARTS.get(choice)):
            arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return arguments


def _with_further(arguments: list[str], further: list[str]) -> list[str]:
    ours, together = given(arguments), given([*arguments, *further])
    for name in OWNED:
        if together.get(name) != ours.get(name):
            raise _owned(name)
    for name, value in together.items():
        untrusted.require_plain(name, value)
    real = {name: _real_path(together[name]) for name in PATHS if name in together}
    paths = [(f"--{name.replace('_', '-')}", path) for name, path in real.items() if path != together[name]]
    return [*arguments, *further, *(part for option in paths for part in option)]


def _owned(name: str) -> UserError:
    return UserError(f"--{name.replace('_', '-')} after --: the launcher sets it; see scripts/train.sh --help")


def _real_path(path: str) -> str:
    """The path without links, relative parts or the name of the record of GradInit in a save dir."""
    if not Path(path).exists():  # fairseq also takes names that are not paths
        return path
    real = Path(path).resolve()
    return str(real.parent if real.name == TENSORS else real)


def given(arguments: list[str]) -> dict:
    """The options that ``arguments`` set, without defaults: fairseq's name of each, and its value for fairseq-train.

    Raises:
        UserError: fairseq-train would refuse them.
    """
    with fairseq_options() as options:
        return vars(options.parse_args_and_arch(options.get_training_parser(), arguments, suppress_defaults=True))


def _choices(further: list[str]) -> dict[str, str | None]:
    """The user's choices to which other options belong; None where the preset's choice stays."""
    owners = {owner: owner.replace("-", "_") for owner in BELONGS_TO.values()}
    with fairseq_options() as options:
        parser = options.get_training_parser()
        parser.set_defaults(**dict.fromkeys([*owners.values(), "user_dir"]))
        found, _ = parser.parse_known_args(further)
    if found.user_dir not in (None, USER_DIR):  # a full parse would import it
        raise _owned("user_dir")
    return {owner: getattr(found, name) for owner, name in owners.items()}


@contextlib.contextmanager
def fairseq_options() -> Iterator[ModuleType]:
    """fairseq's parsers, with the plugin registered; importing them takes seconds. Refusals become UserErrors."""
    logging.getLogger("fairseq").setLevel(logging.WARNING)  # or it advertises TensorBoard
    from fairseq import options

    gradinit_mt.register_with_fairseq()

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield options
    except SystemExit as error:
        if error.code != USAGE:  # --help, or a signal
            raise
        reason = (
            printed.getvalue()
            .strip()
            .rpartition("error: ")[2]
            .replace("invalid <lambda> value", "expected numbers, got")
        )
        raise UserError(f"fairseq-train refuses its options: {reason}") from error
    except (SyntaxError, ValueError, RuntimeError) as error:
        raise UserError(f"fairseq-train refuses its options: {str(error) or '--arch is missing or unknown'}") from error


def continuing(arguments: list[str]) -> list[str]:
    """The arguments of a run with a checkpoint: without those about another one, which applied to the first start."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--restore-file")
    for name in RESETS:
        parser.add_argument(name, action="store_true")
    return parser.parse_known_args(arguments)[1]


def changed(before: list[str], now: list[str], may_move: bool = False) -> list[str]:
    """The options that differ between two runs' arguments and must not, each with both values.

    Args:
        before: of the run that has begun.
        now: of the run that would continue it.
        may_move: whether the path of the data may differ, where its content is compared otherwise.
    """
    # fairseq's parser imports the user dir, which may have been another checkout
    old, new = given([*before, "--user-dir", USER_DIR]), given(now)
    old |= {name: _real_path(old[name]) for name in PATHS if name in old}
    extensible = "total_num_update" in new or new.get("lr_scheduler") in ENDLESS
    free = FREE | ({"max_update"} if extensible else set()) | ({"data"} if may_move else set())
    before_shown, now_shown = (
        {name.replace("_", "-"): _shown(value) for name, value in run.items() if name not in free} for run in (old, new)
    )
    return sorted(differing(before_shown, now_shown, missing="unset"))


def _shown(value: object) -> object:
    """As on the command line: a list of one item as the item, a flag as set."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return "set" if value is True else value

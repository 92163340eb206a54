"""How the watch ends a run: its message, and its note in the save dir."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from gradinit_mt.plugin.options import GradInitTranslationConfig
from gradinit_mt.plugin.watch import stop_note
from gradinit_mt.plugin.watch.standstill import End, Reading

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stop:
    """The decision to end a run.

    Attributes:
        update: after which the run has ended.
        end: why.
        message: what was seen, and what to try.
    """

    update: int
    end: End
    message: str


def decision(end: End, reading: Reading, standing: int, entropy: float, cfg: GradInitTranslationConfig) -> Stop:
    """The decision to end a run after a reading.

    Args:
        standing: for how many updates the run has been in that state.
        entropy: of word frequencies, in bits per token.
    """
    loss, gain = f"{reading.loss:.2f} bits per token", f"(source gain {reading.source_gain:.1g} bits)"
    seen = {
        End.NOT_FINITE: f"at update {reading.update} the loss or its gradient is not finite",
        End.WORD_FREQUENCIES: f"for {standing} updates the training loss ({loss}) has stood at the level of word "
        f"frequencies ({entropy:.2f}), and no output has depended on the source {gain}",
        End.LANGUAGE_MODEL: f"for {standing} updates the model has been a language model: its training loss is {loss}, "
        f"but no output has depended on the source {gain}",
    }
    text = f"stopped after update {reading.update}: {seen[end]}. Try {', or '.join(_remedies(end, cfg))}."
    if end is not End.NOT_FINITE:
        text += " To train on regardless, give --watch-updates 0."
    return Stop(reading.update, end, text)


def _remedies(end: End, cfg: GradInitTranslationConfig) -> list[str]:
    """What may help, the likeliest first."""
    rate = f"a lower --lr than {cfg.lr[0]:g}"
    found = ["GradInit (without --no-gradinit)"] if cfg.no_gradinit else []
    if end is End.NOT_FINITE:
        return [rate, "--clip-norm 1", *found, "warmup (--warmup-updates)"]
    return [*found, rate, "warmup (--warmup-updates)"]


def note(stop: Stop, save_dir: str) -> None:
    """Reports the decision in the log and, as far as the disk allows it, in the save dir."""
    logger.warning("watch: %s", stop.message)
    try:
        stop_note.write(Path(save_dir), asdict(stop))
    except OSError as error:
        logger.warning("watch: %s cannot be written: %s", Path(save_dir, stop_note.NOTE), error.strerror)

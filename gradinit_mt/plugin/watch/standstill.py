"""Which runs have stood still: a rule over the readings that the watch takes, and nothing else.

A Post-LN Transformer that starts badly learns how frequent each word is, and no more. Or it learns the target language
and ignores its source. Its loss alone proves neither: it keeps falling a little, and a run that starts slowly passes
through the same values. Two further numbers tell them apart. Where the signal is lost, no output depends on the source:
the source gain is below 1e-4 bits in either direction, or 1e-3 in bfloat16. In a model that will train it is larger,
even before it is of any use. But it may start below 0, and a run at a low rate takes long to pass 0. So the states
after the last layer of a stack must be alike, too.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

MARGIN = 0.5  # bits per token: a loss not this far below the entropy of words is at the level of word frequencies
NO_EFFECT = 2e-3  # bits per token: with a source gain this close to 0 no output depends on it (bfloat16 rounds)
LOST = 1e-4  # a stack whose signal (``core.signal``) is below this has lost it


class End(StrEnum):
    """Why a run is stopped."""

    NOT_FINITE = "not finite"
    WORD_FREQUENCIES = "word frequencies"
    LANGUAGE_MODEL = "language model"


@dataclass(frozen=True)
class Reading:
    """What the watch sees at one update.

    Attributes:
        update: number of updates done.
        updates: how many of them the loss is the mean of.
        loss: on the training set, in bits per target token, without label smoothing.
        source_gain: in bits per target token; nan if it cannot be measured.
        signal: after the last layer (``core.signal``), in the stack where it is lowest; nan if it cannot be measured.
        rising: whether the learning rate has risen since the reading before.
    """

    update: int
    updates: int
    loss: float
    source_gain: float
    signal: float = math.nan
    rising: bool = False


@dataclass
class Standstill:
    """Takes the readings of a run in order, and says when it must end.

    A run stands still while every reading finds it in the same state. While the learning rate rises, as in warmup, no
    run does.

    Attributes:
        entropy: of the frequencies of the training set's target words, in bits per token.
        at_word_frequencies: updates after which a run at the level of word frequencies is stopped; 0 for never.
        as_language_model: updates after which a run that has learned more, but not from its source, is stopped; 0 for
            never.
    """

    entropy: float
    at_word_frequencies: int
    as_language_model: int
    since: dict[End, int] = field(default_factory=dict)  # the state it is in, and the update after which that began

    def end(self, reading: Reading) -> End | None:
        """Takes the next reading; why the run must end after it, or None."""
        before = reading.update - reading.updates
        self.since = {state: self.since.get(state, before) for state in self._states(reading)}
        limits = {
            End.NOT_FINITE: 1,
            End.WORD_FREQUENCIES: self.at_word_frequencies,
            End.LANGUAGE_MODEL: self.as_language_model,
        }
        ends = (end for end, limit in limits.items() if limit and end in self.since)
        return next((end for end in ends if self.standing_for(end, reading) >= limits[end]), None)

    def standing_for(self, state: End, reading: Reading) -> int:
        """For how many updates the run has been in a state up to this reading, which it has taken."""
        return reading.update - self.since[state]

    def _states(self, reading: Reading) -> list[End]:
        if not math.isfinite(reading.loss):
            return [End.NOT_FINITE]
        if reading.rising or not abs(reading.source_gain) < NO_EFFECT or not self._signal_is_lost(reading):
            return []
        return [End.WORD_FREQUENCIES if reading.loss > self.entropy - MARGIN else End.LANGUAGE_MODEL]

    def _signal_is_lost(self, reading: Reading) -> bool:
        if math.isnan(reading.signal):  # at a low rate the loss is still far above, too
            return reading.loss < self.entropy + MARGIN
        return reading.signal < LOST

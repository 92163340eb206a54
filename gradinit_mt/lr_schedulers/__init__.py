"""Learning-rate schedules registered with fairseq."""

from . import linear as linear

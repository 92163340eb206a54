"""Learning-rate schedules registered with fairseq."""

from gradinit_mt.lr_schedulers import linear as linear

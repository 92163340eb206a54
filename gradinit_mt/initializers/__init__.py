"""Other initializations of the same model, to compare GradInit with; each file registers one or two."""

from gradinit_mt.initializers import admin as admin
from gradinit_mt.initializers import deepnorm as deepnorm
from gradinit_mt.initializers import ds_init as ds_init
from gradinit_mt.initializers import emergence as emergence
from gradinit_mt.initializers import idinit as idinit
from gradinit_mt.initializers import looks_linear as looks_linear
from gradinit_mt.initializers import metainit as metainit
from gradinit_mt.initializers import nio as nio
from gradinit_mt.initializers import orthogonal as orthogonal
from gradinit_mt.initializers import post_ln_init as post_ln_init
from gradinit_mt.initializers import t_fixup as t_fixup
from gradinit_mt.initializers.registry import INITIALIZERS, Start

__all__ = ["INITIALIZERS", "Start"]

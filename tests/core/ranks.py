"""Learning on two data-parallel ranks, and in one process on the same sentences."""

import torch
import torch.distributed
from networks import MIXED, TinyTransformer, settings, token_loss, transformer_case

from gradinit_mt.core import learn_scales
from gradinit_mt.core.signal import SignalLoss, find_stacks

DTYPES = (torch.float64, torch.float32)
# published, with both kinds of step; signal-preserving, which looks at the signal of each part
FORMS = {
    "paper": settings("adam", MIXED["transformer", "adam"]),
    "signal": settings("adam", 1e9, look_ahead=3, update="descent", lower_bound=0.2, upper_bound=2.0),
}
SHARES = (slice(2), slice(2, 6))  # unequal, of six sentences


def on_two_ranks(directory):
    """By rank, form and type: the scales, and all parameters after learning."""
    torch.multiprocessing.spawn(_rank, (directory,), nprocs=2)
    return [torch.load(directory / f"rank{rank}", weights_only=False) for rank in range(2)]


def _rank(rank, directory):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{directory}/store", rank=rank, world_size=2)
    found = {}
    for form in FORMS:
        for dtype in DTYPES:
            found[form, dtype] = learned(form, dtype, [SHARES[rank]], torch.distributed.all_reduce)
    torch.save(found, directory / f"rank{rank}")
    torch.distributed.destroy_process_group()


def learned(form, dtype, shares, all_reduce=None):
    """Scales and parameters after 50 iterations on these shares of every batch, which are accumulated."""
    network, pairs = transformer_case(3, dtype)
    config = FORMS[form]

    def divided(parts):
        return [tuple(t[share] for t in part) for part in parts for share in shares]

    given = ((divided(s * config.look_ahead), divided(s_tilde)) for s, s_tilde in pairs)
    state = learn_scales(
        network, token_loss, given, config, ahead_loss_fn=_with_signal(form, network), all_reduce=all_reduce
    )
    return state, network.state_dict()


def _with_signal(form: str, network: TinyTransformer):
    return SignalLoss(find_stacks(network)).added_to(token_loss, 1.0) if form == "signal" else None

"""What current PyTorch needs before it works with fairseq 0.12; each entry with its reason."""

import argparse

import torch

# torch >= 2.6 loads checkpoints without running code from them, and refuses the types it does not know. fairseq
# writes the options of parts that have no dataclass (the optimizer sgd, say) as a Namespace of plain values.
torch.serialization.add_safe_globals([argparse.Namespace])

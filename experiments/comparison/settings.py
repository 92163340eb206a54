"""The rows of the study: a name, the options of fairseq-train that make it, and what its reader has to know.

This file imports nothing beyond the standard library, since the workflow engine has its own environment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comparison.cells import Cell

Options = tuple[str, ...]
Scales = dict[str, float]  # endings of tensor names, and the factor of these tensors

PLAIN = ("--no-gradinit",)
WARMUPS = (50, 100, 200, 400, 800)  # updates
BRANCHES = ("v_proj.weight", "out_proj.weight", "fc1.weight", "fc2.weight")
HAND_BRANCHES: Scales = dict.fromkeys(BRANCHES, 0.3)
HAND_OUTPUT = HAND_BRANCHES | {"decoder.layers.5.final_layer_norm.weight": 4.0, "decoder.embed_tokens.weight": 0.2}
# fairseq's own Transformer in the sizes of the preset multi30k; the decoder's widths follow the encoder's
PRE_LN = (
    *("--arch", "transformer", "--encoder-normalize-before", "--decoder-normalize-before"),
    *("--encoder-embed-dim", "128", "--encoder-ffn-embed-dim", "256"),
    *("--encoder-layers", "6", "--decoder-layers", "6"),
    *("--encoder-attention-heads", "4", "--decoder-attention-heads", "4"),
)


@dataclass(frozen=True)
class Setting:
    """One row of the study."""

    section: str  # A: one flag; B: scales of the unchanged model; C: changed residual sums; D: learned from gradients
    about: str
    options: Options | Callable[["Cell"], Options] = PLAIN
    caveat: str = ""
    optimizer: str = "torch_adamw"  # of this row, where the cell has a beta2
    beta1: float = 0.9
    by_hand: Scales | None = None  # scales of a record that the run starts from
    tuned: bool = False  # its warmup is chosen, as the configuration says
    needs_adam: bool = False  # it changes Adam, or follows beta2: a cell of SGD would be another row under its name

    def options_of(self, cell: "Cell") -> Options:
        """The row's options of fairseq-train in this cell, without optimizer and learning rate."""
        return self.options(cell) if callable(self.options) else self.options


def initializer(name: str, *further: str) -> Options:
    """The options of a closed or learned rule alone, without GradInit after it."""
    return ("--initializer", name, *PLAIN, *further)


def untuned_warmup(cell: "Cell") -> Options:
    """2 / (1 - beta2) updates of warmup (Ma and Yarats, arXiv 1910.04209, section 5)."""
    if cell.beta2 is None:
        raise ValueError(f"{cell.setting} needs a beta2, got a cell of SGD: leave it out of that block")
    return (*PLAIN, "--warmup-updates", str(round(2 / (1 - cell.beta2))))


_FOLDED = "the same function at first; trains otherwise with Adam, because the parameters differ"

SETTINGS = {
    "xavier": Setting("A", "the model's own initialization, no warmup", caveat="the baseline that fails"),
    **{
        f"warmup-{updates}": Setting(
            "A", f"{updates} updates of linear warmup", (*PLAIN, "--warmup-updates", str(updates))
        )
        for updates in WARMUPS
    },
    "warmup-tuned": Setting(
        "A",
        "linear warmup, its length chosen on the validation set for each rate",
        caveat="chosen on a seed that no table shows",
        tuned=True,
    ),
    "warmup-untuned": Setting(
        "A",
        "linear warmup over 2 / (1 - beta2) updates",
        untuned_warmup,
        "2,000 updates at beta2 0.999: a shorter run ends below its rate",
        needs_adam=True,
    ),
    "adam-eps": Setting("A", "Adam with epsilon 1e-4", (*PLAIN, "--adam-eps", "1e-4"), needs_adam=True),
    "radam": Setting(
        "A",
        "rectified Adam",
        caveat="its author: it did not remove every need for warmup",
        optimizer="torch_radam",
        needs_adam=True,
    ),
    "pre-ln": Setting(
        "A", "LayerNorm before each sublayer", (*PLAIN, *PRE_LN), "another model: fairseq's own, in full precision"
    ),
    "gi-adam": Setting(
        "A", "Adam whose second moment starts at the first gradient's square", optimizer="gi_adam", needs_adam=True
    ),
    "novograd": Setting(
        "A",
        "NovoGrad: one second moment per tensor",
        caveat="beta1 is 0.95",
        optimizer="novograd",
        beta1=0.95,
        needs_adam=True,
    ),
    "t-fixup": Setting("B", "T-Fixup's scales", initializer("t-fixup"), "LayerNorm is kept; the paper removes it"),
    "ds-init": Setting("B", "depth-scaled uniform matrices", initializer("ds-init")),
    "post-ln-init": Setting("B", "weights divided by the distance from the top", initializer("post-ln-init")),
    "admin-folded": Setting("B", "Admin, profiled, folded into the branches", initializer("admin"), _FOLDED),
    "admin-closed-folded": Setting("B", "Admin's closed form, folded", initializer("admin-closed"), _FOLDED),
    "deepnorm-folded": Setting("B", "DeepNorm, folded", initializer("deepnorm"), _FOLDED),
    "looks-linear": Setting("B", "mirrored feed-forward matrices", initializer("looks-linear")),
    "orthogonal": Setting("B", "orthogonal matrices at xavier's variance", initializer("orthogonal")),
    "emergence": Setting("B", "lower half of the layers scaled down, upper half up", initializer("emergence")),
    "idinit": Setting("B", "padded identity matrices", initializer("idinit")),
    "branches": Setting(
        "B",
        "matrices of the residual branches times 0.37",
        (),
        "where GradInit's default form starts: (9 N)^(-1/4) for N = 6 layers",
        by_hand=dict.fromkeys(BRANCHES, 54**-0.25),
    ),
    "hand-output": Setting(
        "B",
        "branches times 0.3, the decoder's last LayerNorm times 4, its embedding times 0.2",
        (),
        "a rule read off scales that GradInit learned on this corpus",
        by_hand=HAND_OUTPUT,
    ),
    "admin": Setting(
        "C", "Admin, profiled: trainable residual weights", initializer("admin", "--residual-weights", "trainable")
    ),
    "admin-closed": Setting("C", "Admin's closed form", initializer("admin-closed", "--residual-weights", "trainable")),
    "deepnorm": Setting(
        "C", "DeepNorm: fixed residual weights", initializer("deepnorm", "--residual-weights", "fixed")
    ),
    "nio": Setting("D", "neural initialization optimization", initializer("nio")),
    "metainit": Setting("D", "MetaInit", initializer("metainit")),
    "gradinit": Setting("D", "GradInit's default form: the signal kept, from small residual branches", ()),
    "gradinit-signal": Setting("D", "the form signal: the same from scales of 1", ("--gradinit-form", "signal")),
    "gradinit-paper": Setting("D", "GradInit as published", ("--gradinit-form", "paper")),
    "t-fixup-gradinit": Setting(
        "D", "the form signal, from T-Fixup's start", ("--initializer", "t-fixup", "--gradinit-form", "signal")
    ),
}

LENGTHS = {f"warmup-{updates}": updates for updates in WARMUPS}  # rows among which that of warmup-tuned is chosen
ALL = tuple(name for name in SETTINGS if name not in LENGTHS)

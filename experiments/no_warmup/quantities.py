"""Loss, signal and source gain after a few steps from an initialization."""

import math
from dataclasses import dataclass

from bench import STEP_TOKENS, STEPS, TOKENS, Bench, mean_over
from matplotlib import pyplot
from torch import Tensor, nn
from tqdm import tqdm

from gradinit_mt.common.figures import COLOURS, STYLE
from gradinit_mt.common.tables import markdown
from gradinit_mt.plugin.source_gain import source_gain

COMMON_SCALES = (0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.4)


@dataclass(frozen=True)
class Quantities:
    """Measurements after a few steps from an initialization: losses in bits per token, with label smoothing."""

    before: float
    one_step: float
    several: float
    signal_lost: float  # nats, after several steps
    source_gain: float  # bits per token, after several steps


def quantities(bench: Bench, scales: Tensor | None, samples: list[dict]) -> Quantities:
    """Measures one initialization on validation batches."""

    def bits(model: nn.Module) -> float:
        return mean_over(lambda sample: bench.loss(model, sample), samples) / math.log(2)

    initial, one, several = (bench.model(scales) for _ in range(3))
    bench.walk(one, 1, bench.batches(TOKENS, 1))
    bench.walk(several, STEPS, bench.batches(STEP_TOKENS, 1))
    return Quantities(
        bits(initial),
        bits(one),
        bits(several),
        mean_over(lambda sample: bench.signal_lost(several, sample), samples),
        source_gain(several, bench.criterion, samples).gain,
    )


def quantities_table(found: dict[str, Quantities]) -> str:
    """Markdown with a line per initialization."""
    columns = ["initialization", "loss before", "after 1 step", f"after {STEPS} steps", "signal lost", "source gain"]
    rows = [
        [name, *(f"{value:.2f}" for value in (q.before, q.one_step, q.several, q.signal_lost)), f"{q.source_gain:.4f}"]
        for name, q in found.items()
    ]
    return markdown(columns, rows)


def surface(bench: Bench, samples: list[dict]) -> pyplot.Figure:
    """A figure of the quantities over one common scale of the residual branches."""
    found = [
        quantities(bench, bench.branches(scale), samples) for scale in tqdm(COMMON_SCALES, "surface", disable=None)
    ]
    with pyplot.rc_context(STYLE):
        figure, (loss, signal) = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
        titles = {"before": "before", "one_step": "after 1 step", "several": f"after {STEPS} steps"}
        for (name, label), colour in zip(titles.items(), COLOURS, strict=False):
            loss.plot(COMMON_SCALES, [getattr(q, name) for q in found], "o-", color=colour, markersize=3, label=label)
        loss.set_ylabel("loss (bits per target token)")
        figure.legend(loc="outside upper left", ncols=len(titles), frameon=False)
        signal.plot(COMMON_SCALES, [q.signal_lost for q in found], "o-", color="0.2", markersize=3)
        signal.set_ylabel(f"signal lost after {STEPS} steps (nats)")
        for axes in (loss, signal):
            axes.set_xscale("log")
            axes.set_xticks(COMMON_SCALES, [f"{scale:g}" for scale in COMMON_SCALES])
            axes.minorticks_off()
            axes.set_xlabel("common scale of v_proj, out_proj, fc1, fc2")
    return figure

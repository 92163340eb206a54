"""The model of the comparison study, its criterion and its batches, to measure what its first steps do."""

import ast
import copy
import itertools
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from fairseq import tasks, utils
from fairseq.data import data_utils
from torch import Tensor, nn

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # for the package of the study beside this one
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # and for this checkout's gradinit_mt

from comparison.cells import PRESET, Cell
from comparison.scales_by_hand import fairseq_config, scales_by_hand
from comparison.settings import BRANCHES, Scales

from gradinit_mt.core import find_blocks, scale_blocks
from gradinit_mt.core.forms import FORMS
from gradinit_mt.core.signal import SignalLoss
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.plugin.stacks import stacks_of
from gradinit_mt.training.presets import COMMON, PRESETS

BETAS = ast.literal_eval(str(COMMON["adam-betas"]))
STEPS = FORMS["signal"].look_ahead
TOKENS = PRESETS[PRESET].tokens_per_update
STEP_TOKENS = TOKENS // STEPS


class Bench:
    """The model of the comparison study, its criterion and its batches, with the seed and learning rate of a run."""

    def __init__(self, run: Cell, corpus: PreparedCorpus) -> None:
        cfg = fairseq_config(run, corpus, Path("unused"))
        utils.set_torch_seed(run.seed)
        self.task = tasks.setup_task(cfg.task)
        self.theta0 = self.task.build_model(cfg.model)
        self.criterion = self.task.build_criterion(cfg.criterion)
        self.names = [block.name for block in find_blocks(self.theta0)]
        self.lr, self.seed = run.lr, run.seed
        for split in ("train", "valid"):
            self.task.load_dataset(split)

    def model(self, scales: Tensor | None = None) -> nn.Module:
        """A copy of the initial model in evaluation mode, its blocks scaled."""
        model = copy.deepcopy(self.theta0).eval()
        if scales is not None:
            scale_blocks(find_blocks(model), scales)
        return model

    def scales(self, rule: Scales) -> Tensor:
        """Those of a rule by hand."""
        return scales_by_hand(rule, self.names)

    def branches(self, scale: float) -> Tensor:
        """One common scale for the matrices of all residual branches."""
        return self.scales(dict.fromkeys(BRANCHES, scale))

    def batches(self, tokens: int, number: int, split: str = "train") -> Iterator[dict]:
        """An endless sequence of batches, different for each ``number``, and the same in each call."""
        dataset = self.task.dataset(split)
        with data_utils.numpy_seed(self.seed):  # sentences of equal length are shuffled
            ordered = dataset.ordered_indices()
        batches = dataset.batch_by_size(ordered, max_tokens=tokens)
        generator = torch.Generator().manual_seed(1000 * self.seed + number)
        while True:
            for index in torch.randperm(len(batches), generator=generator).tolist():
                yield dataset.collater([dataset[member] for member in batches[index]])

    def fixed(self, count: int) -> list[dict]:
        """Validation batches, always the same."""
        return list(itertools.islice(self.batches(TOKENS, 0, "valid"), count))

    def loss(self, model: nn.Module, sample: dict) -> Tensor:
        """Nats per token, with label smoothing."""
        loss, size, _ = self.criterion(model, sample)
        return loss / size

    def adam(self, model: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(model.parameters(), lr=self.lr, betas=BETAS)

    def walk(self, model: nn.Module, steps: int, batches: Iterator[dict]) -> None:
        """Takes the first steps of Adam; the very first one is the published sign step."""
        optimizer = self.adam(model)
        for sample in itertools.islice(batches, steps):
            optimizer.zero_grad()
            self.loss(model, sample).backward()
            optimizer.step()

    def signal_lost(self, model: nn.Module, sample: dict) -> Tensor:
        lost = SignalLoss(stacks_of(model))
        with lost.watching():
            model(**sample["net_input"])
            return lost(sample)


@torch.no_grad()
def mean_over(function: Callable[[dict], Tensor], samples: list[dict]) -> float:
    """The mean of a function over samples."""
    return statistics.mean(float(function(sample)) for sample in samples)

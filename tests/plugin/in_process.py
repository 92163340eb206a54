"""fairseq's trainer in the process of the test, on the small corpus."""

from pathlib import Path

import torch
from fairseq import options, tasks, utils
from fairseq.data.iterators import GroupedIterator
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer

import gradinit_mt

gradinit_mt.register_with_fairseq()

SETTINGS = [
    *("--task", "gradinit_translation", "--arch", "post_ln_transformer_tiny", "--encoder-layers", "1"),
    *("--encoder-embed-dim", "32", "--encoder-ffn-embed-dim", "64", "--encoder-attention-heads", "2", "--dropout", "0"),
    *("--share-decoder-input-output-embed", "--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1"),
    *("--max-tokens", "400", "--lr-scheduler", "linear", "--num-workers", "0", "--seed", "7", "--log-interval", "1"),
    *("--max-update", "8"),
    *("--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--lr", "1e-3", "--cpu", "--disable-validation"),
    *("--gradinit-iterations", "2", "--gradinit-look-ahead", "2", "--gradinit-tau", "1"),
    *("--gradinit-precision", "full"),
]


def configured(corpus: Path, save_dir: Path, *further, **unparsed):
    """The configuration of a run; ``unparsed`` are settings of fairseq that its command line changes or refuses."""
    arguments = [str(corpus / "bin"), *SETTINGS, "--save-dir", str(save_dir), *map(str, further)]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))
    for name, value in unparsed.items():
        cfg.common[name] = value
        if name in cfg.task:  # refers to the other one until the command line has been read
            cfg.task[name] = value
    return cfg


def trainer_of(cfg) -> Trainer:
    """A trainer with a new model, as ``fairseq-train`` builds it."""
    utils.set_torch_seed(cfg.common.seed)
    task = tasks.setup_task(cfg.task)
    return Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))


def updates_of(trainer: Trainer):
    """The samples of each update of the first epoch."""
    batches = trainer.get_train_iterator(epoch=1).next_epoch_itr()
    return GroupedIterator(batches, trainer.cfg.optimization.update_freq[0])


def parameters(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of the parameters by name."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}

"""GradInit on a task's model: learned from its training set, or taken from a record."""

import logging
import os
import statistics

from fairseq.criterions import FairseqCriterion
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks.translation import TranslationTask
from torch import nn

from gradinit_mt.common import log_lines
from gradinit_mt.common.progress import progress
from gradinit_mt.core import GradInitConfig, GradInitError, State, find_blocks, learn_scales, scale_blocks
from gradinit_mt.core.blocks import Block, block_facts, embedding_rms
from gradinit_mt.core.forms import FORMS
from gradinit_mt.core.signal import SignalLoss
from gradinit_mt.core.starts import branches
from gradinit_mt.core.state import OBJECTIVE
from gradinit_mt.plugin import interruption
from gradinit_mt.plugin.batches import batches_of, max_tokens
from gradinit_mt.plugin.facts import data_checksum
from gradinit_mt.plugin.losses import token_loss
from gradinit_mt.plugin.options import GradInitTranslationConfig, core_config, first_steps_of
from gradinit_mt.plugin.precision import working_precision
from gradinit_mt.plugin.ranks import from_first_rank, rank_and_world_size, sum_over_ranks
from gradinit_mt.plugin.stacks import stacks_of
from gradinit_mt.record import reuse
from gradinit_mt.record.record import SUMMARY, Record, fingerprint

logger = logging.getLogger(__name__)

SAVE_EVERY = 20  # iterations


def learn(
    task: TranslationTask,
    options: dict,
    model: BaseFairseqModel,
    criterion: FairseqCriterion,
    optimizer: FairseqOptimizer,
) -> None:
    """Learns the scales, or resumes learning them; the record is kept in the save dir.

    Args:
        task: with its training set loaded.
        options: the model's, see ``model_options``.
        model: in full precision, in evaluation mode.
        criterion: of training.
        optimizer: of training, whose first steps the look-ahead takes.

    Raises:
        GradInitError: an option is out of its range, learning fails, or the save dir holds the record of another run.
    """
    cfg: GradInitTranslationConfig = task.cfg
    rank, world_size = rank_and_world_size()
    device = next(model.parameters()).device
    over_sentences = getattr(criterion, "sentence_avg", False)
    tokens = float(task.dataset(cfg.train_subset).tgt_sizes.mean()) if over_sentences else 1.0
    # an initializer has given embeddings and branches another size already
    size = embedding_rms(find_blocks(model)) if cfg.initializer is None else 0.0
    # the first rank's settings, so that ranks with different devices compute the same
    config = from_first_rank(lambda: core_config(cfg, first_steps_of(optimizer), device, tokens, size))
    record = from_first_rank(
        lambda: reuse.continued(_fresh_record(task, options, model, criterion, config), cfg.save_dir)
    )
    started_at = record.state.iteration
    if not record.complete:
        logger.info(
            f"GradInit: looks {config.look_ahead} step{'s' * (config.look_ahead > 1)} of {config.step} ahead, eta "
            f"{config.eta:g}, in {config.precision}, for {config.iterations} iterations; every setting will be in "
            f"{os.path.join(cfg.save_dir, SUMMARY)}"
        )
    elif rank == 0:
        record.save(cfg.save_dir)  # a kill may have fallen between its two files

    loss_fn = token_loss(criterion)
    weight = config.signal_weight
    ahead_loss_fn = SignalLoss(stacks_of(model)).added_to(loss_fn, weight) if weight else None
    with progress("GradInit", config.iterations, started_at, shown=rank == 0) as advance:

        def saved() -> str:
            record.save(cfg.save_dir)
            return f"saved after iteration {record.state.iteration} of GradInit"

        def on_iteration(state: State) -> None:
            entry = state.history[-1]
            done = f"gradient norm {entry['norm']:.4g}, above gamma"
            if entry["kind"] == OBJECTIVE:
                done = f"objective ahead {entry['ahead']:.3f}"
            advance(f"loss {entry['loss']:.3f} nats, {done}")
            if rank == 0 and (state.iteration % SAVE_EVERY == 0 or state.iteration == config.iterations):
                record.save(cfg.save_dir)
            if number := interruption.received():
                interruption.leave(number, saved)

        learn_scales(
            model,
            loss_fn,
            batches_of(task, model, config.look_ahead).pairs(started_at),
            config,
            ahead_loss_fn=ahead_loss_fn,
            all_reduce=sum_over_ranks if world_size > 1 else None,
            held=[_softmax(model)] if cfg.gradinit_hold_softmax else (),
            state=record.state,
            on_iteration=on_iteration,
        )
    _log_outcome(record, cfg.save_dir, reused=started_at == config.iterations)


def take_scales(path: str, model: BaseFairseqModel, save_dir: str) -> None:
    """Multiplies the parameters by the scales of the record at ``path``, which becomes that of this run.

    Raises:
        GradInitError: there is none, it does not fit the model, or the save dir holds the record of another run.
    """
    record = from_first_rank(lambda: reuse.given(path, model))
    from_first_rank(lambda: reuse.continued(record, save_dir))
    scale_blocks(find_blocks(model), record.state.scales)
    if rank_and_world_size()[0] == 0:
        record.save(save_dir)
    logger.info("GradInit: %d scales taken from %s", len(record.blocks), path)


def _fresh_record(
    task: TranslationTask,
    options: dict,
    model: BaseFairseqModel,
    criterion: FairseqCriterion,
    config: GradInitConfig,
) -> Record:
    """A record of no iteration, with every setting that affects the result; see ``learn``."""
    cfg: GradInitTranslationConfig = task.cfg
    settings = {
        **config.as_dict(),
        "criterion": type(criterion).__name__,
        "label_smoothing": getattr(criterion, "eps", None),
        "sentence_avg": getattr(criterion, "sentence_avg", None),
        "data": data_checksum(task.dataset(cfg.train_subset)),
        "model": options,
        "max_tokens": max_tokens(cfg),
        "batch_size": cfg.batch_size,
        "update_freq": cfg.gradinit_update_freq,
        "world_size": rank_and_world_size()[1],
        "training_precision": working_precision(cfg, model),
        "hold_softmax": cfg.gradinit_hold_softmax,
        "seed": cfg.seed,
    }
    if cfg.initializer is not None:  # a record without one says nothing of it
        settings["initializer"] = str(cfg.initializer)
    blocks = find_blocks(model)
    state = State.fresh(len(blocks))
    if FORMS[str(cfg.gradinit_form)].from_branches and cfg.initializer is None:
        state = _from_branches(blocks, model)
        settings["start"] = "branches"  # a record of another start says nothing of it
    return Record(settings, block_facts(model), fingerprint(model), state)


def _from_branches(blocks: list[Block], model: BaseFairseqModel) -> State:
    stacks = stacks_of(model)
    try:
        return State.starting(branches(blocks, stacks))
    except ValueError as error:
        raise GradInitError(f"--gradinit-form branches: {error}") from error


def _log_outcome(record: Record, save_dir: str, reused: bool) -> None:
    state = record.state
    objective, constraint = state.steps
    kinds = "" if record.settings["gamma"] is None else f", {objective} objective and {constraint} constraint steps"
    scales = sorted(s for s, b in zip(state.scales.tolist(), record.blocks, strict=True) if b["learnable"])
    done = log_lines.SCALES_REUSED if reused else f"{state.iteration} iterations"
    logger.info(
        f"GradInit: {done} in {state.seconds:.1f} s{kinds}; "
        f"scales from {scales[0]:.3g} to {scales[-1]:.3g}, median {statistics.median(scales):.3g}; "
        f"see {os.path.join(save_dir, SUMMARY)}"
    )


def _softmax(model: BaseFairseqModel) -> tuple[nn.Module, str]:
    projection = getattr(getattr(model, "decoder", None), "output_projection", None)
    if not isinstance(projection, nn.Module) or not isinstance(getattr(projection, "weight", None), nn.Parameter):
        raise GradInitError(
            f"--gradinit-hold-softmax: {type(model).__name__} has no decoder.output_projection.weight; drop the option"
        )
    return projection, "weight"

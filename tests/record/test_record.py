"""Records on disk: what is saved is what is loaded, and damaged files are refused."""

import itertools
import json
import resource
import signal
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from unchanged import unchanged

from gradinit_mt.core import GradInitConfig, learn_scales
from gradinit_mt.core.blocks import block_facts
from gradinit_mt.record.record import SUMMARY, TENSORS, Record, RecordError, fingerprint


def network(seed=0):
    torch.manual_seed(seed)
    layers = OrderedDict(embedding=nn.Embedding(11, 8), hidden=nn.Linear(8, 8), softmax=nn.Linear(8, 11))
    return nn.Sequential(layers).double()


@pytest.fixture
def record():
    def loss_fn(model, tokens):
        return F.cross_entropy(model(tokens), tokens, reduction="sum"), len(tokens)

    model, tokens = network(), torch.arange(11)
    config = GradInitConfig(step="adam", eta=0.05, gamma=12.0, iterations=5, tau=0.02)
    state = learn_scales(model, loss_fn, itertools.repeat(([tokens], [tokens])), config)
    return Record(config.as_dict(), block_facts(model), "0" * 64, state)


def test_a_saved_record_is_loaded_exactly(record, tmp_path):
    record.save(tmp_path / "new")
    loaded = Record.load(tmp_path / "new")
    assert (loaded.settings, loaded.blocks, loaded.theta0) == (record.settings, record.blocks, record.theta0)
    assert torch.equal(loaded.state.scales, record.state.scales)
    assert torch.equal(loaded.state.moments, record.state.moments)
    assert torch.equal(torch.stack(loaded.state.trajectory), torch.stack(record.state.trajectory))
    assert (loaded.state.history, loaded.state.steps) == (record.state.history, record.state.steps)
    summary = json.loads((tmp_path / "new" / SUMMARY).read_text())
    assert [block["scale"] for block in summary["blocks"]] == record.state.scales.tolist()
    assert not list((tmp_path / "new").glob("*.tmp"))


def test_a_full_disk_is_reported_with_the_file_and_leaves_the_record_that_was_there(record, tmp_path):
    record.save(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with unchanged(tmp_path), pytest.raises(RecordError, match=rf"{TENSORS}: cannot be written \(.*File too large"):
            record.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_missing_or_damaged_record_is_named(record, tmp_path):
    with pytest.raises(RecordError, match=r"gradinit.safetensors: no such file; GradInit writes it"):
        Record.load(tmp_path)
    record.save(tmp_path)
    whole = (tmp_path / TENSORS).read_bytes()
    for damaged in (whole[:40], b"", whole[:8] + b"}" * 50):
        (tmp_path / TENSORS).write_bytes(damaged)
        with pytest.raises(RecordError, match="not a record of GradInit"):
            Record.load(tmp_path)


def test_the_fingerprint_sees_values_names_and_shapes_and_nothing_else():
    prints = [fingerprint(network(seed)) for seed in (1, 1, 2)]
    assert prints[0] == prints[1] != prints[2]
    model = network(1)
    before = fingerprint(model)
    model.hidden.weight.grad = torch.ones_like(model.hidden.weight)
    assert fingerprint(model) == before
    with torch.no_grad():
        model.hidden.weight[0, 0] += 1e-9
    assert fingerprint(model) != before
    model = network(1)
    renamed = nn.Sequential(OrderedDict(embedding=model.embedding, inner=model.hidden, softmax=model.softmax))
    assert fingerprint(renamed) != before
    model.hidden.weight = nn.Parameter(model.hidden.weight.detach().view(4, 16))
    assert fingerprint(model) != before, "another shape of the same values"
    model.hidden.requires_grad_(False)
    before = fingerprint(model)
    model.hidden.bias.fill_(7.0)
    assert fingerprint(model) == before, "what is frozen does not count"


def test_scales_that_do_not_fit_a_model_are_refused_with_the_names(record):
    model = network()
    record.require_blocks_of(model)
    blocks = block_facts(model)
    blocks[0] = blocks[0] | {"shape": [3, 4]}
    with pytest.raises(RecordError, match=r"another model \(embedding.weight \[3, 4\] there, \[11, 8\] here\)"):
        replace(record, blocks=blocks).require_blocks_of(model)
    with pytest.raises(RecordError, match=r"softmax.bias missing there.* and \d+ more") as caught:
        replace(record, blocks=[]).require_blocks_of(nn.ModuleDict({"softmax": nn.Linear(3, 3), "rest": model}))
    assert len(str(caught.value)) < 400, "a few names, not all"
    with pytest.raises(RecordError, match=r"another model \(another order of its tensors\)"):
        replace(record, blocks=block_facts(model)[::-1]).require_blocks_of(model)

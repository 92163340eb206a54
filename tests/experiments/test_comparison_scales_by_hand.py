"""Scales set by hand: which tensors a rule scales."""

import pytest
from comparison.cells import Cell
from comparison.scales_by_hand import scales_by_hand, write_record
from comparison.settings import SETTINGS

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.record.record import Record

LAST = {"decoder.layers.5.final_layer_norm.weight": 4.0, "decoder.embed_tokens.weight": 0.2}


def test_the_rule_scales_the_branches_and_two_more_tensors(toy_corpus, tmp_path):
    narrow = ("--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "32")
    cell = Cell("toy", "hand-output", 1e-3, 0.98, None, 1, 2, narrow)
    write_record(cell, PreparedCorpus.load(toy_corpus), tmp_path)
    record = Record.load(tmp_path)
    scales = dict(zip((block["name"] for block in record.blocks), record.state.scales.tolist(), strict=True))
    assert {name: scale for name, scale in scales.items() if scale not in (0.3, 1.0)} == LAST
    # per encoder layer v, out, fc1, fc2; per decoder layer two more for the cross-attention
    assert list(scales.values()).count(0.3) == 6 * 4 + 6 * 6


@pytest.mark.parametrize("lacking", LAST)
def test_a_rule_for_another_model_is_refused(lacking):
    names = [name for name in LAST if name != lacking]
    rule = {name: SETTINGS["hand-output"].by_hand[name] for name in LAST}
    with pytest.raises(UserError, match=rf"{lacking}, but no tensor's name ends with it: use a model of 6\+6 "):
        scales_by_hand(rule, names)


def test_a_setting_without_a_rule_has_no_record(toy_corpus, tmp_path):
    with pytest.raises(ValueError, match="gradinit has no scales set by hand"):
        write_record(Cell("toy", "gradinit", 1e-3, 0.98, None, 1, 2), PreparedCorpus.load(toy_corpus), tmp_path)
    assert not list(tmp_path.iterdir())

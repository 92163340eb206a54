"""A record in the save dir counts as this run's only if model, data and settings are the same."""

import shutil

import pytest
from short_runs import ADAM, GRADINIT, MODEL, TRAINING

BINARIZED = "train.de-en.en.bin"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--encoder-attention-heads", "4"], "model.encoder_attention_heads 2 there, 4 here"),
        (["--activation-fn", "gelu"], "model.activation_fn relu there, gelu here"),
    ],
)
def test_another_model_with_the_same_parameters_is_named(fairseq, record_only, changed, message):
    output = fairseq.train(record_only, 8, *GRADINIT, *ADAM, *changed, fails=True)
    assert f"belongs to another run ({message}" in output


def test_other_words_in_sentences_of_the_same_lengths_are_other_data(fairseq, forks, record_only, tmp_path):
    binarized = tmp_path / "bin"
    shutil.copytree(fairseq.corpus / "bin", binarized)
    words = bytearray((binarized / BINARIZED).read_bytes())
    first, second = slice(0, 2), slice(2, 4)
    assert words[first] != words[second]
    words[first], words[second] = words[second], words[first]
    (binarized / BINARIZED).write_bytes(words)
    (tmp_path / "corpus").mkdir()
    binarized.rename(tmp_path / "corpus" / "bin")
    output = type(fairseq)(tmp_path / "corpus", fairseq.root, forks).train(record_only, 8, *GRADINIT, *ADAM, fails=True)
    assert "belongs to another run (data " in output


def test_a_stock_model_has_its_own_options_in_the_record_and_no_others(fairseq, tmp_path):
    """fairseq passes its settings as one namespace with all options of the run, including the save dir."""
    stock = ["--arch", "transformer_iwslt_de_en", *MODEL[2:]]
    sides = [word.replace("encoder", "decoder") for word in MODEL[2:-1]]
    arguments = [*stock, *sides, *TRAINING, *GRADINIT, *ADAM, "--max-update", "1"]
    fairseq.run("train", *arguments, "--save-dir", tmp_path / "one")
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one/gradinit.safetensors", tmp_path / "two")
    arguments += ["--save-dir", tmp_path / "two"]
    output = fairseq.run("train", *arguments, "--decoder-attention-heads", "4", fails=True)
    assert "belongs to another run (model.decoder_attention_heads 2 there, 4 here" in output
    assert "found complete" in fairseq.run("train", *arguments)

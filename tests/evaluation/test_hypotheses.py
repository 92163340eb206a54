"""Reading fairseq-generate's output, joining subwords, and the two kinds of text."""

import io

import pytest
import sentencepiece

from gradinit_mt.common.errors import UserError
from gradinit_mt.evaluation.hypotheses import as_detokenized, as_tokenized_lowercase, join_subwords, parse

OUTPUT = [
    "S-1\tein haus",
    "T-1\ta house",
    "H-1\t-0.3\ta ho@@ use",
    "D-1\t-0.3\tdetokenized, not to be read",
    "P-1\t-0.1 -0.2",
    "S-0\tH-7\t-1\ta source that looks like a hypothesis",
    "H-0\t-1.5e-05\tone\u2028two\tthree",
    "H-2\t-inf\t",
    "Generate test with beam=5: BLEU4 = 0.00",
]


def test_hypotheses_come_in_corpus_order_as_they_were_written():
    assert parse(OUTPUT, 3) == ["one\u2028two\tthree", "a ho@@ use", ""]


def test_the_best_of_several_is_selected():
    lines = ["H-0\t-2.0\tworse", "H-0\t-0.5\tbest", "H-0\t-1.0\tmiddle"]
    assert parse(lines, 1, nbest=3) == ["best"]


@pytest.mark.parametrize(
    ("lines", "sentences", "message"),
    [
        (OUTPUT, 4, r"1 of 4 sentences have no hypothesis \(first: 3\)"),
        (OUTPUT, 2, "hypothesis for sentence 2, but the reference has 2"),
        ([*OUTPUT, "H-1\t-0.3\ta ho@@ use"], 3, "sentence 1 has 2 hypotheses, not 1"),
        (["H-0\tgood\ta"], 1, "sentence 0: 'good' is not a score"),
        ([], 2, "2 of 2 sentences have no hypothesis"),
    ],
)
def test_output_that_does_not_cover_the_corpus_once_is_refused(lines, sentences, message):
    with pytest.raises(UserError, match=message):
        parse(lines, sentences)


@pytest.mark.parametrize(
    ("subwords", "words"),
    [
        ("ho@@ us@@ es &apos;s @-@", "houses &apos;s @-@"),
        ("cut off@@", "cut off"),
        ("a <unk> b", "a ⁇ b"),
        ("ho@@ <unk> b", "ho ⁇ b"),
        ("", ""),
    ],
)
def test_subwords_of_subword_nmt_are_joined(subwords, words):
    assert join_subwords([subwords], "subword-nmt") == [words]


def test_pieces_are_joined_as_sentencepiece_decodes_them():
    text = ["Ein Haus, zwei Häuser.", "Das ist 3.5 % mehr!", "„Ja“, sagt sie."] * 5
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_writer=model, model_type="bpe", vocab_size=45, minloglevel=2
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = processor.encode(text, out_type=str)
    joined = join_subwords([" ".join(line) for line in pieces], "sentencepiece")
    assert joined == processor.decode(pieces) == text


def test_an_unknown_piece_becomes_a_separate_word():
    assert join_subwords(["▁a <unk> b ▁ <unk> ▁c"], "sentencepiece") == ["a ⁇ b ⁇ c"]


def test_plain_text_is_tokenized_and_tokenized_text_is_not_tokenized_twice():
    assert as_tokenized_lowercase(["It's A house."], "en", moses_tokenized=False) == ["it &apos;s a house ."]
    assert as_tokenized_lowercase(["It &apos;s A house ."], "en", moses_tokenized=True) == ["it &apos;s a house ."]


def test_only_tokenized_text_is_detokenized():
    assert as_detokenized(["it &apos;s a house , yes ."], "en", moses_tokenized=True) == ["it's a house, yes."]
    assert as_detokenized(["odd , spacing ."], "en", moses_tokenized=False) == ["odd , spacing ."]


def test_an_unknown_symbol_is_one_word_in_both_kinds_of_text():
    words = join_subwords(["▁a <unk> ▁b"], "sentencepiece")
    assert as_tokenized_lowercase(words, "en", moses_tokenized=False) == ["a ⁇ b"]
    assert as_detokenized(["a ⁇ b"], "en", moses_tokenized=True) == ["a ⁇ b"]

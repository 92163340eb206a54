"""Both kinds of text from a tokenized, lowercased corpus (like IWSLT'14) and from a plain one."""

import pytest

from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.text import write_lines
from gradinit_mt.evaluation import results, run
from gradinit_mt.evaluation.scores import score

RAW = ["It's a House, isn't it?", 'He said: "Wait for the U.S. (or not)!"', "No - 3.5% more & nothing else."]
SUBWORDS = {
    "subword-nmt": [
        "it &apos;s a ho@@ use , isn &apos;t it ?",
        "he s@@ aid : &quot; wait for the u.s. ( or not ) ! &quot;",
        "no - 3.5 % mo@@ re &amp; no@@ thing else .",
    ],
    "sentencepiece": ["▁" + line.replace(" ", " ▁") for line in RAW],
}


@pytest.fixture(params=SUBWORDS)
def corpus(request, tmp_path):
    tokenized = request.param == "subword-nmt"
    unused = {"joined_dictionary": False, "vocab_size": None, "bpe_merges": None, "dropped": {}, "tools": {}}
    corpus = PreparedCorpus(
        directory=tmp_path,
        name="toy",
        source="de",
        target="en",
        subword=request.param,
        lowercased=tokenized,
        moses_tokenized=tokenized,
        counts={"test": len(RAW)},
        **unused,
    )
    (tmp_path / "raw").mkdir()
    write_lines(corpus.raw("test", "en"), RAW)
    write_lines(corpus.text("test", "en"), SUBWORDS[request.param])
    return corpus


def test_the_reference_itself_gets_every_full_score(corpus):
    texts = run.texts(corpus, "test", SUBWORDS[corpus.subword])
    for found in score(texts, corpus.lowercased).values():
        assert found.value == pytest.approx(100), found.name
    assert texts.raw_reference == RAW
    assert texts.tokenized[0] == "it &apos;s a house , isn &apos;t it ?"
    expected = [line.lower() for line in RAW] if corpus.lowercased else RAW
    assert texts.detokenized == expected


def test_texts_are_read_back_as_they_were_written(corpus, tmp_path):
    texts = run.texts(corpus, "test", SUBWORDS[corpus.subword])
    directory = tmp_path / "result"
    directory.mkdir()
    texts.write(directory)
    assert results.Texts.read(directory) == texts

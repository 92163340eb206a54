"""New text gets the subwords that the preparation gave the test set."""

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora import parallel
from gradinit_mt.corpora.encoding import encode
from gradinit_mt.corpora.iwslt14 import learn_merges, tokenized_splits
from gradinit_mt.corpora.layout import SUBWORD_FILES
from gradinit_mt.corpora.text import read_lines


@pytest.mark.parametrize("lang", ["de", "en"])
def test_sentencepiece(kept_text, tmp_path_factory, lang):
    corpus = tmp_path_factory.getbasetemp() / "encoding"
    if not corpus.exists():
        splits = [item for split in ("train", "valid", "test") for item in (f"--{split}", str(kept_text / split))]
        sizes = ["--vocab-size", "60", "--workers", "1"]
        arguments = [*splits, "--source", "de", "--target", "en", "--output", str(corpus), *sizes]
        parallel.prepare(parallel.parse_args(arguments))
    assert encode(read_lines(kept_text / f"test.{lang}"), lang, "sentencepiece", corpus) == read_lines(
        corpus / f"test.{lang}"
    )


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"x"])
@pytest.mark.parametrize("subword", SUBWORD_FILES)
def test_a_missing_or_damaged_model_is_named(tmp_path, capsys, subword, content):
    path = tmp_path / SUBWORD_FILES[subword][0]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path}: cannot be read as a subword model"):
        encode(["ja"], "de", subword, tmp_path)
    assert capsys.readouterr().err == ""


def test_moses_tokens_and_merges(tmp_path):
    """As the preparation of IWSLT'14 does it: tokenized, straight apostrophes, lower case, merges, escapes."""
    test = {"de": ["Das ist\u2019s & so, Äpfel."], "en": ["It\u2019s Mr. Smith's, and so."]}
    train = {"de": ["das ist so ."] * 40, "en": ["it is so ."] * 40}
    splits, raw, _ = tokenized_splits(train, test, workers=1)
    merges = learn_merges(splits["train"]["de"] + splits["train"]["en"], 5, tmp_path / "code")
    for lang in ("de", "en"):
        expected = [merges.process_line(line) for line in splits["test"][lang]]
        assert encode(raw["test"][lang], lang, "subword-nmt", tmp_path) == expected
    joined = [encode(raw["test"][lang], lang, "subword-nmt", tmp_path)[0].replace("@@ ", "") for lang in ("de", "en")]
    assert joined == ["das ist &apos; s &amp; so , äpfel .", "it &apos;s mr. smith &apos;s , and so ."]

"""Any parallel text with one joint sentencepiece model: gradinit_mt/corpora/parallel.py."""

import gzip
import json
import shutil

import pytest
import sentencepiece

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora import parallel
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.parallel import drop_pairs, learn_model
from gradinit_mt.corpora.text import read_lines, write_lines


def run(folder, output, *more):
    arguments = [f"--{split}={folder / split}" for split in ("train", "valid", "test")]
    arguments += ["--source=de", "--target=en", f"--output={output}", "--vocab-size=80", "--workers=1", *more]
    return parallel.prepare(parallel.parse_args(arguments))


@pytest.fixture(scope="module")
def prepared(kept_text):
    """A corpus whose training pairs are limited to 15 pieces."""
    return run(kept_text, kept_text.parent / "prepared", "--max-length=15", "--name=made-up")


def test_prepared_corpus_is_what_was_stored(prepared, kept_text):
    assert prepared == PreparedCorpus.load(kept_text.parent / "prepared")
    assert (prepared.name, prepared.subword, prepared.vocab_size) == ("made-up", "sentencepiece", 80)
    names = {path.name for path in prepared.bin.iterdir()}
    assert {"train.de-en.de.bin", "valid.de-en.en.idx", "test.de-en.de.bin"} <= names


def test_no_piece_contains_what_python_takes_for_space(kept_text):
    """U+0085 stands for an ellipsis in text that was decoded wrongly; fairseq splits a piece at it."""
    lines = [line.replace("a", "a\x85b") for line in read_lines(kept_text / "train.en")]
    model = sentencepiece.SentencePieceProcessor(model_proto=learn_model(lines, 80, 1.0))
    for encode in (parallel.encode, parallel.encode_training):
        encoded = [encode(model, line) for line in lines]
        assert [line.split() for line in encoded] == [line.split(" ") for line in encoded]


def test_decoded_pieces_are_the_original_text(prepared, kept_text):
    model = sentencepiece.SentencePieceProcessor(model_file=str(prepared.directory / "sentencepiece.model"))
    assert model.get_piece_size() == 80
    for lang in prepared.languages:
        text = {split: read_lines(kept_text / f"{split}.{lang}") for split in ("train", "valid", "test")}
        decoded = {
            split: [model.decode(line.split()) for line in read_lines(prepared.text(split, lang))] for split in text
        }
        assert decoded["valid"] == text["valid"] == read_lines(prepared.raw("valid", lang))
        assert decoded["test"] == text["test"] == read_lines(prepared.raw("test", lang))
        # The remaining training text is in the original order.
        remaining = iter(text["train"])
        assert all(line in remaining for line in decoded["train"])
    listed = [line.split("\t")[0] for line in read_lines(prepared.directory / "sentencepiece.vocab")]
    assert listed == [model.id_to_piece(i) for i in range(80)]


def test_only_training_pairs_are_dropped(prepared):
    assert prepared.dropped["length"] == 300 - prepared.counts["train"] > 0
    lengths = {
        split: [len(line.split()) for lang in prepared.languages for line in read_lines(prepared.text(split, lang))]
        for split in ("train", "valid", "test")
    }
    assert max(lengths["train"]) == 15
    assert max(lengths["valid"]) > 15
    assert (len(lengths["valid"]), len(lengths["test"])) == (40, 40)


def test_both_languages_share_one_dictionary_of_the_training_pieces(prepared):
    dictionaries = [read_lines(prepared.bin / f"dict.{lang}.txt") for lang in prepared.languages]
    assert dictionaries[0] == dictionaries[1]
    lines = [line for lang in prepared.languages for line in read_lines(prepared.text("train", lang))]
    used = {piece for line in lines for piece in line.split()}
    # fairseq pads its dictionary to a multiple of eight.
    assert used == {line.split()[0] for line in dictionaries[0] if not line.startswith("madeupword")}
    assert prepared.dictionary == {lang: len(dictionaries[0]) + 4 for lang in ("de", "en")}


def test_characters_without_a_piece_get_no_entry_in_the_dictionary(parallel_text, monkeypatch):
    for name in ("train.de", "test.de"):
        lines = read_lines(parallel_text / name)
        write_lines(parallel_text / name, [f"{lines[0]} 龘靐", *lines[1:]])
    texts = []
    monkeypatch.setattr(parallel, "complete", lambda corpus, text, *_: texts.append(text) or corpus)
    for coverage in ("1", "0.999"):
        run(parallel_text, parallel_text.parent / coverage, f"--character-coverage={coverage}")
    covered, others_unknown = (text["train"]["de"][0].split() for text in texts)
    assert covered[-3:] == ["▁", "龘", "靐"] and others_unknown[-2:] == ["▁", "<unk>"]
    assert texts[1]["test"]["de"][0].endswith("▁ 龘靐"), "only training text makes the dictionary"


def test_the_files_do_not_depend_on_the_number_of_processes(prepared, parallel_text, tmp_path):
    for path in list(parallel_text.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    second = run(parallel_text, tmp_path / "second", "--max-length=15", "--workers=2")
    assert second.sha256 == prepared.sha256
    assert {path.name: path.read_bytes() for path in second.bin.iterdir()} == {
        path.name: path.read_bytes() for path in prepared.bin.iterdir()
    }


def test_pairs_are_dropped_at_the_bounds_and_counted():
    train = {"de": ["a b c", "a b c d", "a", "", "a b"], "en": ["x", "x", "x y z", "x", "x y"]}
    assert drop_pairs(train, 3, None) == (
        {"de": ["a b c", "a", "a b"], "en": ["x", "x y z", "x y"]},
        {"length": 2, "ratio": 0},
    )
    assert drop_pairs(train, 3, 2.9) == ({"de": ["a b"], "en": ["x y"]}, {"length": 2, "ratio": 2})
    assert drop_pairs(train, 3, 3)[1] == {"length": 2, "ratio": 0}


def test_the_bound_in_the_error_is_exact(parallel_text):
    lines = read_lines(parallel_text / "train.de")
    with pytest.raises(UserError) as error:
        learn_model(lines, 100_000, 1.0)
    bound = int(str(error.value).split("gives ")[1].split()[0])
    assert sentencepiece.SentencePieceProcessor(model_proto=learn_model(lines, bound, 1.0)).get_piece_size() == bound


def test_loading_anything_but_a_prepared_corpus_fails(prepared, tmp_path):
    copy = shutil.copytree(prepared.directory, tmp_path / "copy")
    with pytest.raises(UserError, match="not a prepared corpus"):
        PreparedCorpus.load(copy / "raw")
    path = copy / "corpus.json"
    stored = json.loads(path.read_text())
    for content, message in (
        ("{", "cannot be read"),
        ("[]", "format list, expected 1"),
        (json.dumps({**stored, "format": 2}), "format 2, expected 1"),
        (json.dumps({**stored, "extra": 1, "subword": "none"}), "another type: extra"),
        (json.dumps({key: stored[key] for key in stored if key != "counts"}), "another type: counts"),
        (json.dumps({**stored, "subword": "none"}), "expected one of subword-nmt, sentencepiece"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            PreparedCorpus.load(copy)
    earlier = {name: digest for name, digest in stored["sha256"].items() if not name.startswith("bin/")}
    path.write_text(json.dumps(stored | {"sha256": earlier}))  # of a version that noted no checksums of bin/
    corpus = PreparedCorpus.load(copy)
    assert corpus.checksums(corpus.binarized("train")) == prepared.checksums(prepared.binarized("train"))
    path.write_text(json.dumps(stored))
    (copy / "raw" / "test.en").unlink()
    with pytest.raises(UserError, match=r"raw/test\.en: missing"):
        PreparedCorpus.load(copy)

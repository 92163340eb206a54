"""The generated sample corpus: the committed files, the command that generates them, and their content."""

import gzip
import hashlib
import re
from itertools import islice, repeat

import pytest
from grammar.__main__ import main
from grammar.corpus import PATIENCE, SampleOptions, distinct_pairs, generate
from grammar.dice import Dice
from grammar.sentences import sentence

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.text import read_lines

SIZES = {"train": 24_000, "valid": 500, "test": 500}


@pytest.fixture(scope="module")
def committed(root):
    """split.lang -> lines of the files in data/sample."""
    folder = root / "data" / "sample"
    return {f"{split}.{lang}": read_lines(folder / f"{split}.{lang}.gz") for split in SIZES for lang in ("de", "en")}


def small(seed: int = 5, train_size: int = 40) -> SampleOptions:
    return SampleOptions(train_size=train_size, valid_size=10, test_size=10, seed=seed)


# ---- the files


def test_the_default_command_generates_the_committed_files(root, tmp_path, committed):
    main(["--output", str(tmp_path / "sample")])
    for name, lines in committed.items():
        assert read_lines(tmp_path / "sample" / f"{name}.gz") == lines
    sums = "SHA256SUMS"
    assert (tmp_path / "sample" / sums).read_text() == (root / "data" / "sample" / sums).read_text()


def test_the_checksums_are_those_of_the_texts(root):
    folder = root / "data" / "sample"
    listed = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    found = {path.name[:-3]: gzip.decompress(path.read_bytes()) for path in folder.glob("*.gz")}
    assert listed == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


def test_gzip_contains_no_time_and_no_file_name(tmp_path):
    options = ["--train-size", "20", "--valid-size", "5", "--test-size", "5"]
    main(["--output", str(tmp_path / "out"), *options])
    for path in (tmp_path / "out").glob("*.gz"):
        header = path.read_bytes()[:10]
        assert header[3] == 0  # flags: no name, no comment
        assert header[4:8] == bytes(4)  # modification time


def test_every_sentence_occurs_once_in_all_splits(committed):
    for lang in ("de", "en"):
        lines = [line for split, size in SIZES.items() for line in committed[f"{split}.{lang}"]]
        assert [len(committed[f"{split}.{lang}"]) for split in SIZES] == list(SIZES.values())
        assert len(set(lines)) == sum(SIZES.values())


def test_lines_look_like_sentences(committed):
    for lines in committed.values():
        for line in lines:
            assert re.fullmatch(r"[A-ZÄÖÜ].*\w[.?]", line)
            misplaced = r"  | [,.?]|,(?!\d)\S"  # double spaces, a space before a mark, none after a comma
            assert not re.search(misplaced, line), line


def test_source_and_target_have_the_same_final_mark_and_digits(committed):
    def digits(line):
        return sorted(re.findall(r"\d+", line))

    for de, en in zip(committed["train.de"], committed["train.en"], strict=True):
        assert de[-1] == en[-1]
        assert digits(de) == digits(en)


def test_a_german_sentence_always_has_the_same_translation():
    translations = {}
    for de, en in map(sentence, repeat(Dice(77), 30_000)):
        assert translations.setdefault(de, en) == en, de


# ---- options, errors, determinism


def test_the_seed_determines_the_text_and_train_size_only_changes_train():
    base = generate(small())
    assert generate(small()) == base
    assert generate(small(seed=6))["test"] != base["test"]
    larger = generate(small(train_size=80))
    assert (larger["valid"], larger["test"], larger["train"][:40]) == (base["valid"], base["test"], base["train"])


def test_dice_follow_the_documented_sequence_of_the_mersenne_twister():
    dice = Dice(1)
    assert [dice.below(1000) for _ in range(5)] == [134, 847, 763, 255, 495]


@pytest.mark.parametrize(
    ("option", "value"), [("--train-size", 0), ("--valid-size", -1), ("--test-size", 10**9), ("--seed", -1)]
)
def test_values_out_of_range_are_named(option, value, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--output", str(tmp_path / "new"), f"{option}={value}"])
    assert f"argument {option}: {value}: expected a whole number from" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_grammar_with_too_few_sentences_is_an_error():
    few = [("Ja.", "Yes."), ("Nein.", "No."), ("Doch.", "Yes.")]
    assert distinct_pairs(iter(few * 2), 2) == few[:2]
    with pytest.raises(UserError, match="3 distinct sentence pairs requested, but the grammar gave only 2"):
        distinct_pairs(iter(few * 2), 3)
    with pytest.raises(UserError, match="gave only 1"):
        distinct_pairs(repeat(("Ja.", "Yes.")), 2)
    patient = [("Ja.", "Yes.")] * PATIENCE + [("Nein.", "No.")]
    assert len(distinct_pairs(iter(patient), 2)) == 2


def test_the_command_line_overwrites_nothing(tmp_path):
    kept = tmp_path / "out"
    kept.mkdir()
    with pytest.raises(UserError, match="out: already exists"):
        main(["--output", str(kept)])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert list(kept.iterdir()) == []


# ---- the content of the corpus

PREFIX = "(?:an|ab|ein|mit|aus|zu|auf|fern|zurück|vor)"
# Phenomenon -> its pattern in the German text, and the lowest share of training sentences that match.
SHARES = {
    "subordinate clause": (r"(?:^|, )(?:weil|obwohl|dass|ob|wenn|sobald|als|bevor|wo|wann|warum) (?!.*\?$)", 0.20),
    "subordinate clause in front": (r"^(?:weil|obwohl|wenn|sobald|als|bevor) [^?]*, \w+", 0.05),
    "relative clause": (r", (?:(?:auf|an|mit|von) )?(?:der|die|das|den|dem|denen) (?!.*zu ?\w+n[.?]$)", 0.08),
    "infinitive with zu": (rf", (?:[^,]* )?(?:zu \w+n|{PREFIX}zu\w+n)[.?]$", 0.05),
    "zu within a verb": (rf"\b{PREFIX}zu\w+n[.?]$", 0.01),
    "prefix split off": (rf" {PREFIX}(?:[.?,]| und )", 0.04),
    "time in front": (
        r"^(?:gestern|morgen|heute|letzten?|nächste|jeden|am|vor|bald|im (?:sommer|winter)) (?!.*\?$)",
        0.08,
    ),
    "object in front": (r"^(?:de[nm]|(?:ein|dies|mein|dein|sein|ihr|unser)e[nm]) ", 0.02),
    "perfect": (r"\b(?:habe|hast|hat|haben|bin|bist|ist|sind)\b.* \w*(?:ge\w+|iert|(?:be|ver)\w+)(?:t|en|n)\b", 0.25),
    "modal": (r"\b(?:kann|könn|konnt|muss|müss|will|woll|darf|durft|dürf|soll|möcht)", 0.12),
    "negation": (r"\bnicht\b|\bkein", 0.08),
    "question": (r"\?$", 0.10),
    "units before tens": (r"\b(?:ein|zwei|drei|vier|fünf|sechs|sieben|acht|neun)und\w+(?:zig|ßig)\b", 0.005),
    "digits": (r"\d", 0.04),
    "comparison": (r"\b(?:so \w+ wie|\w+er als)\b", 0.015),
    "subject and object swapped": (r"\bgef(?:ällt|allen)\b", 0.025),
    "genitive": (r"\b(?:mein|dein|sein|ihr|unser)es \w+[sn]\b", 0.01),
}


@pytest.mark.parametrize("phenomenon", SHARES)
def test_word_order_phenomena_occur(committed, phenomenon):
    pattern, share = SHARES[phenomenon]
    lines = [line[0].lower() + line[1:] for line in committed["train.de"]]
    found = sum(re.search(pattern, line) is not None for line in lines)
    assert found >= share * len(lines)


def test_sentences_are_of_medium_length(committed):
    lengths = [len(line.split()) for line in committed["train.de"]]
    assert 8 <= sum(lengths) / len(lengths) <= 14
    assert max(lengths) <= 30


def test_training_words_cover_the_test_set(committed):
    def words(name):
        return {word.lower() for line in committed[name] for word in re.findall(r"\w+", line)}

    for lang in ("de", "en"):
        unseen = words(f"test.{lang}") - words(f"train.{lang}")
        assert len(unseen) <= 3, unseen


def test_the_readme_shows_pairs_and_counts_of_the_corpus(root, committed):
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (root / "data" / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    pairs = set(zip(committed["train.de"], committed["train.en"], strict=True))
    shown = [(row[0], row[1]) for row in rows if row[0].endswith((".", "?"))]
    assert len(shown) >= 6
    assert set(shown) <= pairs
    for split, size in SIZES.items():
        words = [sum(len(line.split()) for line in committed[f"{split}.{lang}"]) for lang in ("de", "en")]
        cells = [f"{size:,}", *(cell for count in words for cell in (f"{count:,}", f"{count / size:.1f}"))]
        assert [split, *cells] in rows


def test_sentences_differ_from_draw_to_draw():
    assert len(set(islice(map(sentence, repeat(Dice(3))), 1000))) > 950

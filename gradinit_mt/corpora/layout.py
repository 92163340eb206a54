"""The layout of a prepared corpus, written by both preparations and read by training and evaluation.

corpus.json                          the fields of ``PreparedCorpus``
{train,valid,test}.{src,tgt}         subword text, the input of fairseq-preprocess
code | sentencepiece.{model,vocab}   the subword model
raw/{valid,test}.{src,tgt}           the original sentences, parallel to the subword text
bin/                                 fairseq-preprocess output: dictionaries and binarized splits
"""

import dataclasses
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from gradinit_mt import __version__
from gradinit_mt.common.command import failure, step
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import sha256, write_json
from gradinit_mt.common.stored import read_stored, to_store
from gradinit_mt.corpora.names import require_dictionary, require_language, require_plain_name, require_plain_path
from gradinit_mt.corpora.text import Text, read_lines, require_short, write_lines

FORMAT = 1
MAX_POSITIONS = 1024  # default of fairseq's models, in subwords including the end of the sentence
SPLITS = ("train", "valid", "test")
RAW_SPLITS = ("valid", "test")
SUBWORD_FILES = {"subword-nmt": ("code",), "sentencepiece": ("sentencepiece.model", "sentencepiece.vocab")}
TOO_LONG = (
    "split this line and its translation at the same place, or remove both; or prepare with --max-positions {size} and "
    "train with -- --max-source-positions {size} --max-target-positions {size}"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedCorpus:
    """A corpus ready for training: its directory and the content of ``corpus.json``."""

    directory: Path
    name: str
    source: str
    target: str
    subword: str  # "subword-nmt" or "sentencepiece"
    lowercased: bool
    moses_tokenized: bool
    joined_dictionary: bool
    vocab_size: int | None = None  # pieces requested from sentencepiece
    bpe_merges: int | None = None  # merges requested from subword-nmt
    counts: dict[str, int] = dataclasses.field(default_factory=dict)  # split -> sentence pairs
    dropped: dict[str, int]  # reason -> training pairs left out
    tools: dict[str, str]  # package -> version, for the packages that determine the text
    dictionary: dict[str, int] = dataclasses.field(default_factory=dict)  # language -> entries of fairseq's dictionary
    sha256: dict[str, str] = dataclasses.field(default_factory=dict)  # file -> checksum
    gradinit_mt_version: str = __version__
    format: int = FORMAT

    @classmethod
    def load(cls, directory: Path) -> "PreparedCorpus":
        """Reads the corpus in ``directory``.

        Raises:
            UserError: the directory has no prepared corpus, one of another format, one with files missing, or with
                other dictionaries; or its path is not plain.
        """
        require_plain_path(directory)
        path = directory / "corpus.json"
        if not path.is_file():
            raise UserError(
                f"{directory}: not a prepared corpus (no corpus.json); "
                "make one with scripts/prepare_corpus.sh or scripts/prepare_iwslt14.sh"
            )
        stored = read_stored(path, cls, "prepare the corpus again")
        _require_names(path, stored)
        corpus = cls(directory=directory, **stored)
        for name in sorted({*corpus.sha256, *corpus.binarized(*SPLITS)}):
            if not (directory / name).is_file():
                raise UserError(f"{directory / name}: missing from the prepared corpus; prepare it again")
        for lang in corpus.languages:
            require_dictionary(directory / f"bin/dict.{lang}.txt", corpus.dictionary[lang])
        return corpus

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target."""
        return self.source, self.target

    def binarized(self, *splits: str) -> list[str]:
        """The names of fairseq-preprocess's files: the dictionaries and the binarized splits."""
        names = [f"bin/dict.{lang}.txt" for lang in self.languages]
        pair = "-".join(self.languages)
        return names + [
            f"bin/{split}.{pair}.{lang}.{kind}"
            for split in splits
            for lang in self.languages
            for kind in ("bin", "idx")
        ]

    def checksums(self, names: Iterable[str]) -> dict[str, str]:
        """The checksums of these files, by name; corpora of earlier versions noted none of those in ``bin``.

        Raises:
            UserError: a file has changed since the corpus was prepared.
        """
        found = {name: sha256(self.directory / name) for name in names}
        for name, digest in found.items():
            if digest != self.sha256.get(name, digest):
                raise UserError(
                    f"{self.directory / name}: changed since the corpus was prepared (sha256); prepare it again"
                )
        return found

    @property
    def bin(self) -> Path:
        """The binarized data: fairseq's DATA argument."""
        return self.directory / "bin"

    def text(self, split: str, lang: str) -> Path:
        """The subword text of a split."""
        return self.directory / f"{split}.{lang}"

    def raw(self, split: str, lang: str) -> Path:
        """The original sentences of ``valid`` or ``test``."""
        return self.directory / "raw" / f"{split}.{lang}"


def _require_names(path: Path, stored: dict) -> None:
    """Checks the entries of ``corpus.json`` that become parts of paths and of commands.

    Raises:
        UserError: one is not a name where it must be one, or not one of those known.
    """
    if stored["subword"] not in SUBWORD_FILES:
        expected = ", ".join(SUBWORD_FILES)
        raise UserError(f"{path}: subword {stored['subword']!r}, expected one of {expected}; prepare it again")
    languages = (stored["source"], stored["target"])
    for lang in languages:
        require_language(lang)
    require_plain_name(stored["name"])
    if outside := [name for name in stored["sha256"] if name.startswith("/") or ".." in Path(name).parts]:
        raise UserError(f"{path}: names the file {outside[0]}, expected one in the corpus; prepare the corpus again")
    if {*stored["counts"]} != {*SPLITS} or {*stored["dictionary"]} != {*languages}:
        raise UserError(f"{path}: counts and dictionary are not those of its splits and languages; prepare it again")


def complete(
    corpus: PreparedCorpus, text: Text, raw: Text, workers: int, max_positions: int = MAX_POSITIONS
) -> PreparedCorpus:
    """Writes everything except the subword model, which is already in the directory.

    Args:
        corpus: its directory is the temporary one.
        text: subword text of all splits.
        raw: original sentences, at least of ``valid`` and ``test``.
        workers: number of processes for binarizing.
        max_positions: limit for ``valid`` and ``test``, in subwords including the end of the sentence.

    Returns:
        The corpus with counts, dictionary sizes and checksums.

    Raises:
        UserError: a split is empty, a sentence exceeds the limit, or fairseq-preprocess fails.
    """
    write_text(corpus, text, raw, max_positions)
    step("binarizing with fairseq-preprocess")
    binarize(corpus, workers)
    names = [f"{split}.{lang}" for split in SPLITS for lang in corpus.languages]
    names += SUBWORD_FILES[corpus.subword]
    names += [f"raw/{split}.{lang}" for split in RAW_SPLITS for lang in corpus.languages]
    names += corpus.binarized(*SPLITS)
    corpus = dataclasses.replace(
        corpus,
        counts={split: len(text[split][corpus.source]) for split in SPLITS},
        # the files lack the four special symbols that fairseq adds
        dictionary={lang: len(read_lines(corpus.bin / f"dict.{lang}.txt")) + 4 for lang in corpus.languages},
        sha256={name: sha256(corpus.directory / name) for name in names},
    )
    write_json(corpus.directory / "corpus.json", to_store(corpus))
    return corpus


def write_text(corpus: PreparedCorpus, text: Text, raw: Text, max_positions: int) -> None:
    """Writes the subword text and the original sentences; see ``complete``."""
    (corpus.directory / "raw").mkdir()
    for split in SPLITS:
        for lang, lines in text[split].items():
            if not lines:
                raise UserError(f"{split}: no sentence pair is left; check the files and the length limits")
            if split in RAW_SPLITS:
                require_short(lines, max_positions, f"{split}.{lang}", TOO_LONG)
                write_lines(corpus.raw(split, lang), raw[split][lang])
            write_lines(corpus.text(split, lang), lines)


def binarize(corpus: PreparedCorpus, workers: int) -> None:
    """Runs the stock fairseq-preprocess on the subword text, with output in ``bin/``.

    Raises:
        UserError: it fails.
    """
    command = [sys.executable, "-m", "fairseq_cli.preprocess"]
    command += ["--source-lang", corpus.source, "--target-lang", corpus.target]
    for split in SPLITS:
        command += [f"--{split}pref", split]
    command += ["--destdir", corpus.bin.name, "--workers", str(workers)]
    command += ["--joined-dictionary"] * corpus.joined_dictionary
    done = subprocess.run(
        command,
        cwd=corpus.directory,  # fairseq splits prefixes at commas
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        raise UserError(failure("fairseq-preprocess", done.returncode, done.stdout.splitlines()))
    # names the temporary directory, which is about to be renamed
    (corpus.bin / "preprocess.log").unlink(missing_ok=True)


def summary(corpus: PreparedCorpus) -> str:
    """A short description of the corpus, ending with the next command."""
    model = f"{corpus.vocab_size} pieces" if corpus.subword == "sentencepiece" else f"{corpus.bpe_merges} merges"
    sizes = ", ".join(f"{lang} {size:,}" for lang, size in corpus.dictionary.items())
    kind = "joined" if corpus.joined_dictionary else "separate"
    lines = [
        f"{corpus.name}: {corpus.source} to {corpus.target}, in {corpus.directory}",
        "  pairs         " + ", ".join(f"{split} {count:,}" for split, count in corpus.counts.items()),
        "  dropped       " + ", ".join(f"{reason} {count:,}" for reason, count in corpus.dropped.items()),
        f"  subwords      {corpus.subword}, {model}",
        f"  dictionaries  {kind}: {sizes} (with fairseq's four special symbols)",
        "  sha256",
        *(f"    {digest}  {name}" for name, digest in corpus.sha256.items() if "/" not in name),
        f"  next          scripts/train.sh {shlex.quote(str(corpus.directory))}",
    ]
    return "\n".join(lines)

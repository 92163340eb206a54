"""The one layout of a prepared corpus, written by every preparation and read by training and evaluation.

corpus.json                          what the corpus is: see ``PreparedCorpus``
{train,valid,test}.{src,tgt}         subword text, as fairseq-preprocess reads it
code | sentencepiece.{model,vocab}   the subword model
raw/{valid,test}.{src,tgt}           the sentences as they came, line by line with the subword text
bin/                                 fairseq-preprocess output: dictionaries and binarized splits
"""

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from gradinit_mt import __version__
from gradinit_mt.common.command import failure
from gradinit_mt.common.files import sha256, write_json
from gradinit_mt.corpora.text import CorpusError, write_lines

FORMAT = 1
MAX_POSITIONS = 1024  # of fairseq's models, where they are not told otherwise: subwords and the end of a sentence
SPLITS = ("train", "valid", "test")
RAW_SPLITS = ("valid", "test")
SUBWORD_FILES = {"subword-nmt": ("code",), "sentencepiece": ("sentencepiece.model", "sentencepiece.vocab")}

# split -> language -> lines
Text = Mapping[str, Mapping[str, list[str]]]


@dataclasses.dataclass(frozen=True)
class PreparedCorpus:
    """A corpus ready for training: the content of ``corpus.json`` and where its files lie."""

    directory: Path = dataclasses.field(metadata={"stored": False})
    name: str
    source: str
    target: str
    subword: str  # "subword-nmt" or "sentencepiece"
    lowercased: bool
    moses_tokenized: bool
    joined_dictionary: bool
    vocab_size: int | None  # pieces asked of sentencepiece; None for subword-nmt
    bpe_merges: int | None  # merges asked of subword-nmt; None for sentencepiece
    counts: dict  # split -> sentence pairs
    dropped: dict  # reason -> training pairs left out
    tools: dict  # the packages whose version decides the text
    dictionary: dict = dataclasses.field(default_factory=dict)  # language -> entries of fairseq's dictionary
    sha256: dict = dataclasses.field(default_factory=dict)  # file -> checksum
    gradinit_mt_version: str = ""
    format: int = FORMAT

    def __post_init__(self):
        if self.subword not in SUBWORD_FILES:
            raise CorpusError(f"subword {self.subword!r}: expected one of {', '.join(SUBWORD_FILES)}")

    @classmethod
    def load(cls, directory: Path) -> "PreparedCorpus":
        """Reads the corpus in ``directory``.

        Raises:
            CorpusError: the directory holds no prepared corpus, one of another format, or one with files missing; or
                its path holds a ``:``.
        """
        directory = Path(directory)
        require_plain_path(directory)
        path = directory / "corpus.json"
        if not path.is_file():
            raise CorpusError(
                f"{directory}: not a prepared corpus (no corpus.json); "
                "make one with scripts/prepare_corpus.sh or scripts/prepare_iwslt14.sh"
            )
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CorpusError(f"{path}: not valid JSON ({error}); prepare the corpus again") from error
        if not isinstance(stored, dict) or stored.get("format") != FORMAT:
            found = stored.get("format") if isinstance(stored, dict) else type(stored).__name__
            raise CorpusError(f"{path}: format {found}, expected {FORMAT}; prepare the corpus again")
        expected = {field.name for field in dataclasses.fields(cls) if field.metadata.get("stored", True)}
        if stored.keys() != expected:
            wrong = ", ".join(sorted(stored.keys() ^ expected))
            raise CorpusError(f"{path}: missing or unknown entries: {wrong}; prepare the corpus again")
        corpus = cls(directory=directory, **stored)
        for name in [*corpus.sha256, *(f"bin/dict.{lang}.txt" for lang in corpus.languages)]:
            if not (directory / name).is_file():
                raise CorpusError(f"{directory / name}: missing from the prepared corpus; prepare it again")
        return corpus

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target."""
        return self.source, self.target

    @property
    def bin(self) -> Path:
        """The binarized data: fairseq's DATA argument."""
        return self.directory / "bin"

    @property
    def subword_model(self) -> Path:
        """The merges of subword-nmt or the model of sentencepiece."""
        return self.directory / SUBWORD_FILES[self.subword][0]

    def text(self, split: str, lang: str) -> Path:
        """The subword text of a split."""
        return self.directory / f"{split}.{lang}"

    def raw(self, split: str, lang: str) -> Path:
        """The sentences of ``valid`` or ``test`` as they came."""
        return self.directory / "raw" / f"{split}.{lang}"

    def store(self) -> None:
        """Writes ``corpus.json``."""
        stored = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del stored["directory"]
        write_json(self.directory / "corpus.json", stored)


def require_plain_path(directory: Path) -> None:
    """Raises CorpusError for a path that fairseq would take for several: it splits its DATA argument at each ``:``."""
    path = str(Path(directory).resolve())
    if os.pathsep in path:
        raise CorpusError(f"{path}: fairseq splits paths at {os.pathsep!r}; give a directory without it in its path")


def write_text(directory: Path, text: Text, raw: Text, max_positions: int = MAX_POSITIONS) -> None:
    """Writes the subword text of all splits and the raw sentences of ``valid`` and ``test``.

    Raises:
        CorpusError: a split has no pair or unequal sides, its raw text has another number of lines, or a sentence of
            ``valid`` or ``test`` is longer, with its end, than the models to be trained take.
    """
    (directory / "raw").mkdir()
    for split in SPLITS:
        lengths = {len(lines) for side in (text, raw) if split in side for lines in side[split].values()}
        if len(lengths) > 1:
            raise CorpusError(f"{split}: its texts have unequal numbers of lines: {sorted(lengths)}")
        if lengths == {0}:
            raise CorpusError(f"{split}: no sentence pair is left; check the files and the length limits")
        if split in raw:
            _require_translatable(split, text[split], max_positions)
        for lang, lines in text[split].items():
            write_lines(directory / f"{split}.{lang}", lines)
    for split in RAW_SPLITS:
        for lang, lines in raw[split].items():
            write_lines(directory / "raw" / f"{split}.{lang}", lines)


def _require_translatable(split: str, sides: Mapping[str, list[str]], max_positions: int) -> None:
    for lang, lines in sides.items():
        for number, line in enumerate(lines, start=1):
            size = line.count(" ") + 2  # with its end
            if size > max_positions:
                raise CorpusError(
                    f"{split}.{lang}, line {number}: {size:,} subwords with its end; models take {max_positions:,}. "
                    "Split this line and its translation alike, or leave both out; or prepare with --max-positions "
                    f"{size} and train with -- --max-source-positions {size} --max-target-positions {size}"
                )


def binarize(corpus: PreparedCorpus, workers: int) -> None:
    """Runs fairseq's stock preprocessing on the subword text, into ``bin/``.

    Raises:
        CorpusError: it fails (with the end of what it said).
    """
    command = [sys.executable, "-m", "fairseq_cli.preprocess"]
    command += ["--source-lang", corpus.source, "--target-lang", corpus.target]
    for option, split in zip(("--trainpref", "--validpref", "--testpref"), SPLITS, strict=True):
        command += [option, str(corpus.directory / split)]
    command += ["--destdir", str(corpus.bin), "--workers", str(workers)]
    if corpus.joined_dictionary:
        command.append("--joined-dictionary")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        raise CorpusError(failure("fairseq-preprocess", done.returncode, done.stdout.splitlines()))
    # Its log repeats the temporary paths of this run, which are gone at once.
    (corpus.bin / "preprocess.log").unlink(missing_ok=True)


def finish(corpus: PreparedCorpus, workers: int) -> PreparedCorpus:
    """Binarizes the text, adds dictionary sizes, checksums and the version, and stores ``corpus.json``.

    Returns:
        The completed corpus, still in its temporary directory.
    """
    binarize(corpus, workers)
    names = [f"{split}.{lang}" for split in SPLITS for lang in corpus.languages]
    names += SUBWORD_FILES[corpus.subword]
    names += [f"raw/{split}.{lang}" for split in RAW_SPLITS for lang in corpus.languages]
    complete = dataclasses.replace(
        corpus,
        dictionary={lang: dictionary_size(corpus.bin / f"dict.{lang}.txt") for lang in corpus.languages},
        sha256={name: sha256(corpus.directory / name) for name in names},
        gradinit_mt_version=__version__,
    )
    complete.store()
    return complete


def dictionary_size(path: Path) -> int:
    """Entries of a fairseq dictionary: its lines and the four special symbols that fairseq adds."""
    with path.open("rb") as file:
        return sum(1 for _ in file) + 4


def summary(corpus: PreparedCorpus) -> str:
    """One page about a prepared corpus, with the command that comes next."""
    model = f"{corpus.vocab_size} pieces" if corpus.subword == "sentencepiece" else f"{corpus.bpe_merges} merges"
    sizes = ", ".join(f"{lang} {size:,}" for lang, size in corpus.dictionary.items())
    kind = "joined" if corpus.joined_dictionary else "separate"
    dropped = ", ".join(f"{reason} {count:,}" for reason, count in corpus.dropped.items())
    lines = [
        f"{corpus.name}: {corpus.source} to {corpus.target}, in {corpus.directory}",
        "  pairs         " + ", ".join(f"{split} {corpus.counts[split]:,}" for split in SPLITS),
        f"  dropped       {dropped}",
        f"  subwords      {corpus.subword}, {model}",
        f"  dictionaries  {kind}: {sizes} (with fairseq's four special symbols)",
        "  sha256",
        *(f"    {digest}  {name}" for name, digest in corpus.sha256.items() if not name.startswith("raw/")),
        f"  next          scripts/train.sh {shlex.quote(str(corpus.directory))}",
    ]
    return "\n".join(lines)

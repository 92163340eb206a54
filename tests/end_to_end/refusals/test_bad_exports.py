"""Exported models, and options of their commands, that cannot be worked with; see ``test_bad_runs.py``."""

import pytest
from refusing import EVALUATE, Bad, described, refused, removed, text

EXPORT = "export run --data corpus --output new/model"
SUBWORDS = r"model/sentencepiece\.model: missing, or not the file of the export"
TYPES = r"model/export\.json: missing, unknown or of another type: "
WRONG = r"model/export\.json: wrong: "
EXPORTS = [
    Bad("no model", "translate corpus", r"corpus: not an exported model .*make one with scripts/export\.sh"),
    Bad(
        "another format", "translate model", r".*format 1, expected 3; export", described(lambda d: d.update(format=1))
    ),
    Bad("an entry too many", "translate model", rf"{TYPES}extra; export it", described(lambda d: d.update(extra=1))),
    Bad("an entry too few", "translate model", rf"{TYPES}versions", described(lambda d: d.pop("versions"))),
    Bad("unknown subwords", "translate model", rf"{WRONG}subword 'x'", described(lambda d: d.update(subword="x"))),
    Bad(
        "a map that is no number",
        "translate model",
        rf"{TYPES}vocabulary_map",
        described(lambda d: d.update(vocabulary_map="20")),
    ),
    Bad(
        "no vocabulary map",
        "translate model",
        r"model/vmap\.txt: missing, though the model has a map; export it again",
        described(lambda d: d.update(vocabulary_map=20)),
    ),
    Bad(
        "a path as quantization",
        f"{EVALUATE} --exported model",
        rf"{WRONG}quantization '\.\./x'; export it again",
        described(lambda d: d.update(quantization="../x")),
    ),
    Bad("without its checkpoint", f"{EVALUATE} --exported model", r"model: lacks facts of its checkpoint"),
    Bad("no weights", "translate model", r"model: CTranslate2 cannot load it", stdin=b"Hallo.\n"),
    Bad("no subword model", "translate model", f"{SUBWORDS}; export it again", removed("model/sentencepiece.model")),
    Bad(
        "a damaged one",
        "translate model",
        SUBWORDS,
        text("model/sentencepiece.model", b"x" * 99),
    ),
    Bad(
        "checksums of other files",
        "translate model",
        rf"{WRONG}subword_sha256",
        described(lambda d: d.update(subword_sha256={"../x": ""})),
    ),
    Bad(
        "checksums of none",
        "translate model",
        rf"{TYPES}subword_sha256",
        described(lambda d: d.update(subword_sha256=1)),
    ),
    Bad("text not in UTF-8", "translate model", r"standard input, line 2: not valid UTF-8", stdin=b"eins\nf\xfcnf\n"),
    Bad(
        "a line that is too long",
        "translate model",
        r"standard input, line 1: \d+ subwords .* at most 99; split",
        stdin=b"Hallo " * 99,
    ),
    Bad("a beam of 0", "translate model --beam 0", r"argument --beam: 0: expected a whole number of at least 1"),
    Bad(
        "a penalty of inf", "translate model --length-penalty inf", r".*--length-penalty: inf: expected a finite number"
    ),
    Bad("an unknown type", f"{EXPORT} --quantization int3", r"argument --quantization: invalid choice: 'int3'"),
    Bad("a map of 0", f"{EXPORT} --vocabulary-map 0", r".*--vocabulary-map: 0: expected a whole number of at least 1"),
    Bad("an output that exists", EXPORT.replace("new/model", "model"), r"model: already exists; name another output"),
]


@pytest.mark.parametrize("bad", EXPORTS, ids=lambda bad: bad.name)
def test_exported_models(folder, bad):
    refused(bad, folder)

"""The checksums that tell with which preparation of a corpus a cell was trained."""

from gradinit_mt.corpora.layout import SPLITS, PreparedCorpus


def checksums(corpus: PreparedCorpus) -> dict[str, str]:
    """SHA-256 of the subword text by file, as far as the preparation noted it."""
    texts = [f"{split}.{lang}" for split in SPLITS for lang in corpus.languages]
    return {name: corpus.sha256[name] for name in texts if name in corpus.sha256}

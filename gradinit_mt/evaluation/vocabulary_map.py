"""The target subwords among which an exported model searches, as a vocabulary map of CTranslate2.

In a small model the output layer takes much of the time of beam search. With a map, a batch is searched only among the
likely translations of its source subwords and the most frequent subwords (L'Hostis, Grangier and Auli 2016, arXiv
1610.00072). Which translations are likely is learned from the training text by IBM Model 1 (Brown et al. 1993), with
NLTK.

The file has a line per source subword, and one of an empty source for what is always allowed:

    source <TAB> target target ...
"""

import heapq
from collections import Counter, defaultdict

from tqdm import tqdm

from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.text import read_lines

ALWAYS = ""  # the source of the targets that are always allowed
FREQUENT = 100  # of them
ITERATIONS = 5  # of expectation maximization
MOST_SENTENCES = 100_000  # spread over the corpus: learning from them takes minutes


def vocabulary_map(corpus: PreparedCorpus, candidates: int) -> str:
    """The map of a corpus, as the text of the file.

    Args:
        corpus: has the training text.
        candidates: likeliest translations of each source subword.
    """
    sources, targets = (_sentences(corpus, language) for language in corpus.languages)
    likely = likely_translations(sources, targets, candidates)
    frequent = Counter(subword for target in targets for subword in target)
    likely[ALWAYS] = [subword for subword, _ in frequent.most_common(FREQUENT)]
    for source, found in likely.items():
        if source in frequent and source not in found:  # names and numbers stay as they are
            found.append(source)
    return "".join(f"{source}\t{' '.join(found)}\n" for source, found in sorted(likely.items()))


def likely_translations(sources: list[list[str]], targets: list[list[str]], candidates: int) -> dict[str, list[str]]:
    """The target subwords with the highest probability given each source subword, the likeliest first."""
    from nltk.translate import AlignedSent, IBMModel1  # takes 2 s to import

    pairs = [AlignedSent(target, source) for source, target in zip(sources, targets, strict=True)]
    model = IBMModel1(pairs, 0)
    for _ in tqdm(range(ITERATIONS), desc="learning likely translations", unit=" passes", disable=None):
        model.train(pairs)
    of_source = defaultdict(list)
    for target, probabilities in model.translation_table.items():
        for source, probability in probabilities.items():
            if source is not None:  # the empty subword of the model
                of_source[source].append((probability, target))
    return {source: [name for _, name in heapq.nlargest(candidates, found)] for source, found in of_source.items()}


def _sentences(corpus: PreparedCorpus, language: str) -> list[list[str]]:
    """The training text as subwords; of a large corpus every second sentence, or third, or more."""
    lines = read_lines(corpus.text("train", language))
    return [line.split() for line in lines[:: -(-len(lines) // MOST_SENTENCES)]]

"""fairseq's beam search over the few tokens that can enter the beam, instead of over the vocabulary.

Of a hypothesis, at most the best ``2 * beam`` tokens can be among the best ``2 * beam`` of its sentence. So the model
hands only these to the search, after the dictionary's special symbols, which the search addresses by their index. The
translations and their scores are the same; what is saved are the passes over [hypotheses, vocabulary] in the search.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.models import FairseqEncoderDecoderModel
from fairseq.search import BeamSearch
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator
from torch import Tensor

from gradinit_mt.models.encoder_decoder import Decoder

ENTRIES = 2**19  # log-probabilities that are computed together on a CPU, so that they stay in its cache
GROUPS = 16  # tokens of which at first only the best is looked at


class NarrowModel(EnsembleModel):
    """One model, which returns the log-probabilities of a hypothesis's special symbols and best tokens alone.

    ``tokens`` are those of the last step, [hypotheses, width]; ``width`` is how many they are.
    """

    def __init__(self, model: FairseqEncoderDecoderModel, specials: int, best: int) -> None:
        super().__init__([model])
        self.specials, self.width = specials, specials + best
        self.tokens = torch.empty(0)

    def forward_decoder(
        self, tokens: Tensor, encoder_outs: list[dict], incremental_states: list[dict], temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """As fairseq's, but [hypotheses, width] instead of [hypotheses, vocabulary]; and attention weights."""
        model = self.single_model
        features, extra = model.decoder(
            tokens, encoder_out=encoder_outs[0], incremental_state=incremental_states[0], features_only=True
        )
        vocabulary = len(model.decoder.dictionary)
        rows = max(1, ENTRIES // vocabulary) if features.device.type == "cpu" else len(features)
        found = []
        for part in features[:, -1:].split(rows):
            logits = model.decoder.output_layer(part).div_(temperature)
            found.append(self._narrow(model.get_normalized_probs((logits, None), log_probs=True)[:, -1]))
        log_probabilities, self.tokens = map(torch.cat, zip(*found, strict=True))
        return log_probabilities, extra["attn"][0][:, -1]

    def _narrow(self, log_probabilities: Tensor) -> tuple[Tensor, Tensor]:
        special = log_probabilities[:, : self.specials].clone()
        log_probabilities[:, : self.specials] = -torch.inf
        best, tokens = largest(log_probabilities, self.width - self.specials)
        symbols = torch.arange(self.specials, device=tokens.device).expand(len(tokens), -1)
        return torch.cat([special, best], 1), torch.cat([symbols, tokens], 1)


class NarrowSearch(BeamSearch):
    """Beam search over what ``model`` returned last."""

    def __init__(self, dictionary: Dictionary, model: NarrowModel) -> None:
        super().__init__(dictionary)
        self.model = model

    def step(self, step: int, lprobs: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """As fairseq's: scores, tokens and beams of the candidates, each [sentences, 2 * beam]."""
        scores, places, beams = super().step(step, lprobs, *args, **kwargs)
        of_sentence = self.model.tokens.view(len(lprobs), -1)
        return scores, of_sentence.gather(1, beams * self.model.width + places), beams


@contextmanager
def narrowed(generator: SequenceGenerator) -> Iterator[None]:
    """Inside, the generator searches this way, if it does plain beam search with one model of this package.

    Plain is a search without sampling, diversity, blocked n-grams or a language model. Prefix tokens and constraints
    are given to the search itself: with these, do not use it.
    """
    if not _is_plain(generator):
        yield
        return
    whole = generator.model, generator.search, generator.vocab_size
    dictionary, specials = generator.tgt_dict, generator.tgt_dict.nspecial
    best = min(2 * generator.beam_size, len(dictionary) - specials)
    model = NarrowModel(whole[0].single_model, specials, best)
    try:
        generator.model, generator.search, generator.vocab_size = model, NarrowSearch(dictionary, model), model.width
        yield
    finally:
        generator.model, generator.search, generator.vocab_size = whole


def _is_plain(generator: SequenceGenerator) -> bool:
    if type(generator) is not SequenceGenerator or type(generator.search) is not BeamSearch:
        return False
    further = (generator.repeat_ngram_blocker, generator.lm_model, generator.token_indices_to_suppress)
    ends_elsewhere = generator.eos >= generator.tgt_dict.nspecial  # its column would be another token's
    if ends_elsewhere or any(part is not None for part in further):
        return False
    return generator.model.models_size == 1 and isinstance(generator.model.single_model.decoder, Decoder)


def largest(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest entries of each row in descending order, and their columns; [rows, count] each.

    On a CPU this is several times faster than ``topk`` of the whole rows: the columns are split into groups, and only
    the ``count`` groups with the largest maxima are searched.
    """
    width = x.shape[1] // GROUPS
    if x.device.type != "cpu" or width < count:
        values, columns = x.topk(count)
        return values, columns
    grouped = x[:, : GROUPS * width].view(len(x), GROUPS, width)  # a group's columns are width apart
    groups = grouped.amax(1).topk(count).indices
    columns = (groups.unsqueeze(1) + width * torch.arange(GROUPS).unsqueeze(1)).flatten(1)
    rest = torch.arange(GROUPS * width, x.shape[1]).expand(len(x), -1)
    columns = torch.cat([columns, rest], 1)
    values, places = x.gather(1, columns).topk(count)
    return values, columns.gather(1, places)

"""Prepares corpora for training: the IWSLT'14 archive, or any parallel text."""

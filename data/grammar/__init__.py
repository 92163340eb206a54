"""The sample corpus: German-English sentence pairs made by a grammar, with no text taken from anywhere.

A sentence starts as a meaning (``meaning.py``) drawn at random by ``phrases.py``, ``clauses.py`` and ``sentences.py``
out of ``lexicon.py``. ``german.py`` and ``english.py`` each say that meaning in their own word order and morphology,
so nothing is translated word by word. A German sentence has one English translation, always.
"""

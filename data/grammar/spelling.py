"""Joins words to written text."""

Pair = tuple[str, str]


def text(words: list[str], mark: str = ".") -> str:
    """Joined words with a capital letter, a final mark, and no double commas or spaces before commas."""
    kept = [word for index, word in enumerate(words) if word != "," or words[index + 1 : index + 2] not in ([","], [])]
    line = " ".join(kept).replace(" ,", ",")
    return line[0].upper() + line[1:] + mark


def say(de: list[str], en: list[str], mark: str = ".") -> Pair:
    """A German and an English sentence with the same final mark."""
    return text(de, mark), text(en, mark)

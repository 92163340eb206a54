"""From words to text as people write it."""

Pair = tuple[str, str]


def text(words: list[str], mark: str = ".") -> str:
    """Words as people write them: commas closed up and not doubled, a capital, and a final mark."""
    kept = [word for index, word in enumerate(words) if word != "," or words[index + 1 : index + 2] not in ([","], [])]
    line = " ".join(kept).replace(" ,", ",")
    return line[0].upper() + line[1:] + mark


def say(de: list[str], en: list[str], mark: str = ".") -> Pair:
    """A German and an English sentence, which end with the same mark."""
    return text(de, mark), text(en, mark)

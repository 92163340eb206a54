"""Starts and resumes the stock fairseq-train, shows its progress and draws its curves."""

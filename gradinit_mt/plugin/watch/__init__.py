"""The watch over a run: its readings, and the rule that ends a run which cannot recover."""

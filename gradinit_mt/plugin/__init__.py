"""Between fairseq and the rest: options, initialization, precision, the watch, faster steps, and repairs of fairseq.

The repairs make interrupted and resumed runs exact, and let no checkpoint run code.
"""

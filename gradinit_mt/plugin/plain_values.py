"""Plain Python values from text, where fairseq would evaluate it: ``(0.9, 0.98)``, ``[(512, 3)] * 20``, and no code."""

import ast

from gradinit_mt.common.errors import UserError

LONGEST = 10_000  # elements of a list that is repeated


def plain_value(text: str) -> object:
    """What ``eval`` returns for literals, and for sums and multiples of them.

    Raises:
        UserError: it is anything else; it is not run.
        TypeError: ``text`` is no text, as ``eval`` raises it.
    """
    if isinstance(text, bytes):
        raise UserError(f"{text[:80]!r}: bytes where fairseq evaluates an option; expected text")
    if not isinstance(text, str):
        raise TypeError(f"expected text, got {type(text).__name__}")
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise UserError(
            f"{text[:80]!r} is no plain value, and fairseq would run it as code: expected numbers, lists or tuples"
        ) from error


def _value(node: ast.expr) -> object:
    if not isinstance(node, ast.BinOp):
        return ast.literal_eval(node)
    left, right = _value(node.left), _value(node.right)
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Mult):
        if any(isinstance(side, int | float) and abs(side) > LONGEST for side in (left, right)):
            raise ValueError("too large")
        return left * right
    raise ValueError("an operation that is neither + nor *")

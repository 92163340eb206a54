"""Plain Python values such as ``(0.9, 0.98)`` or ``[(512, 3)] * 20``, read from text where fairseq would call eval."""

import ast
import operator
from collections.abc import Sequence

from gradinit_mt.common.errors import UserError

LONGEST = 10_000  # elements of a list, or characters of a text, that + or * may make


def plain_value(text: object) -> object:
    """What ``eval`` returns for literals and for sums and products of literals.

    Raises:
        UserError: ``text`` is anything else, or makes a list of more than ``LONGEST`` elements. It is not run.
        TypeError: ``text`` is not a string; fairseq expects this error of ``eval``.
    """
    if isinstance(text, bytes):
        raise UserError(f"{text[:80]!r}: expected an option's value as text, got bytes")
    if not isinstance(text, str):
        raise TypeError(f"expected text, got {type(text).__name__}")
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise UserError(
            f"{text[:80]!r} is not a plain value, and fairseq would run it as code: expected numbers, lists or tuples"
        ) from error


def _value(node: ast.expr) -> object:
    if not isinstance(node, ast.BinOp):
        return ast.literal_eval(node)  # refuses operations inside a list, so that repetitions cannot nest
    left, right = _value(node.left), _value(node.right)
    if isinstance(node.op, ast.Add):
        operation, length = operator.add, _length(left) + _length(right)
    elif isinstance(node.op, ast.Mult):
        operation, length = operator.mul, max(_length(left, right), _length(right, left))
    else:
        raise ValueError("an operation that is neither + nor *")
    if length > LONGEST:
        raise ValueError(f"{length} elements, expected at most {LONGEST}")
    return operation(left, right)


def _length(value: object, times: object = 1) -> int:
    return len(value) * times if isinstance(value, Sequence) and isinstance(times, int) else 0

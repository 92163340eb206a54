"""What stands between fairseq and current PyTorch, and between its users and a crafted checkpoint."""

import argparse
import ast
from pathlib import Path

import fairseq
import pytest
from fairseq.optim.adam import Adam
from torch import nn, tensor

from gradinit_mt.core.look_ahead import AdamSteps
from gradinit_mt.plugin.evaluated import EVALUATED, code_in

EVALUATORS = {"eval", "eval_bool", "eval_str_dict", "eval_str_list"}
# Arguments of the evaluators' own definitions, local names that other modules fill, and a line of a data file.
NO_OPTIONS = {"x", "line"}


def evaluated_names(tree: ast.Module) -> set[str]:
    """The options (``args.NAME``, ``cfg.NAME``) and the local names that a module hands to an evaluator."""
    names = set()
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not call.args:
            continue
        function, argument = call.func, call.args[0]
        called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if called == "eval" and isinstance(function, ast.Attribute):
            continue  # a module's evaluation mode, or another package's function
        if called in EVALUATORS:
            names |= {node.attr for node in ast.walk(argument) if isinstance(node, ast.Attribute)}
            names |= {argument.id} if isinstance(argument, ast.Name) else set()
    return names - {"args", "cfg", "strip"}


def test_every_option_that_this_fairseq_evaluates_is_known():
    root = Path(fairseq.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        if "examples" not in path.relative_to(root).parts:
            found |= evaluated_names(ast.parse(path.read_text(encoding="utf-8")))
    assert {"adam_betas", "encoder_layers", "xformers_att_config"} <= found
    assert found - NO_OPTIONS - {"uf", "modality_cfg"} <= EVALUATED


@pytest.mark.parametrize(
    "value", ["(0.9, 0.98)", "[(512, 3)] * 2 + 1", "10000", "True", None, 6, [1, 2], "{'a': [1, 2.5, None]}", "-1"]
)
def test_plain_values_are_no_code(value):
    plain = value != "[(512, 3)] * 2 + 1"
    assert (code_in({"model": {"encoder_layers": value}}) is None) == plain


@pytest.mark.parametrize(
    "value", ["exit()", "__import__('os')", "a.b", "name", "lambda: 0", "(" * 5000, "", "1 if x else 2"]
)
def test_code_is_found_at_any_depth_and_only_where_it_would_be_evaluated(value):
    for wrap in (dict, lambda **entries: argparse.Namespace(**entries)):
        settings = {"task": {"data": value}, "model": wrap(encoder=[wrap(xformers_att_config=value)])}
        assert code_in(settings) == f"xformers_att_config={value[:80]!r}"
        assert code_in({"task": {"data": value}}) is None


@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_the_look_ahead_takes_the_steps_of_fairseqs_own_adam(eps):
    """It adds epsilon before it corrects the bias; small gradients show it."""
    values = [tensor([1.0, 1e-3, 1e-6, 1e-9]).double() * sign for sign in (1, -0.5, 2, 1)]
    parameter = nn.Parameter(tensor([0.0] * 4).double())
    optimizer = Adam([parameter], lr=0.01, betas=(0.9, 0.98), eps=eps)
    ours, steps = parameter.detach().clone(), AdamSteps((0.9, 0.98), eps, eps_first=True)
    for g in values:
        parameter.grad = g.clone()
        optimizer.step()
        ours -= 0.01 * steps.direction([g.clone()])[0]
        assert ours.tolist() == pytest.approx(parameter.tolist(), rel=1e-9)

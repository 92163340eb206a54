"""What stands between fairseq and current PyTorch, and between its users and a crafted checkpoint."""

import sys
from pathlib import Path

import fairseq
import pytest
from fairseq import utils
from fairseq.optim.adam import Adam
from torch import nn, tensor

from gradinit_mt.common.errors import UserError
from gradinit_mt.core.look_ahead import AdamSteps
from gradinit_mt.plugin import compat
from gradinit_mt.plugin.plain_values import plain_value


@pytest.fixture(autouse=True)
def loaded_plugin():
    """What the plugin does when fairseq reads it; here it may have been imported before fairseq."""
    compat.evaluate_plain_values_only()


def test_no_module_of_fairseq_is_left_with_an_eval_that_runs_code():
    root = Path(fairseq.__file__).parent
    evaluating = [
        ".".join(path.relative_to(root.parent).with_suffix("").parts)
        for path in root.rglob("*.py")
        if "examples" not in path.parts and " eval(" in path.read_text(encoding="utf-8")
    ]
    assert {"fairseq.utils", "fairseq.optim.adam"} <= set(evaluating)
    loaded = [name for name in evaluating if name in sys.modules]
    assert len(loaded) > 10
    assert all(vars(sys.modules[name])["eval"] is plain_value for name in loaded)
    # the others are never imported by a command: datasets and readers of speech
    assert all(name.startswith("fairseq.data.") for name in set(evaluating) - set(loaded)), evaluating


@pytest.mark.parametrize(
    "text",
    [
        "(0.9, 0.98)",
        " [(512, 3)] * 2 + [(1, 2)]",
        "10000",
        "True",
        "None",
        "{'a': [1, 2.5, None]}",
        "-1",
        "1e-3",
        "3 * (2, 4)",
    ],
)
def test_plain_values_are_what_eval_makes_of_them(text):
    assert plain_value(text) == eval(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "exit()",
            "__import__('os')",
            "a.b",
            "name",
            "lambda: 0",
            "(" * 5000,
            "",
            "1 if x else 2",
            "[x for x in 'ab']",
        ),
        *("f'{exit()}'", "9**9", "[0] * 99999", "'a' - 1", b"exit()"),
    ],
)
def test_code_is_refused_and_not_run(text):
    with pytest.raises(UserError, match=r"is no plain value|bytes where"):
        plain_value(text)
    with pytest.raises(UserError):
        utils.eval_str_list(text) if isinstance(text, str) else utils.eval_bool(text)


def test_what_is_no_text_stays_what_it_was_for_fairseq():
    assert utils.eval_bool(True, default=False) is False
    assert utils.eval_str_list([1, 2], type=int) == [1, 2]
    assert utils.eval_str_list("0.5") == [0.5]


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

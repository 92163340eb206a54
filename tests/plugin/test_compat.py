"""Repairs of fairseq for current PyTorch, and the protection of its users from crafted checkpoints."""

import re
import sys
import tracemalloc
from pathlib import Path

import fairseq
import pytest
from fairseq import utils
from fairseq.optim.adam import Adam
from fairseq_cli import eval_lm, validate
from torch import nn, tensor

from gradinit_mt.common.errors import UserError
from gradinit_mt.core.look_ahead import AdamSteps
from gradinit_mt.plugin.checkpoints import untrusted
from gradinit_mt.plugin.checkpoints.plain_values import plain_value


@pytest.fixture(autouse=True)
def shadowed():
    """Repeats what registering the plugin does, since modules of fairseq may have been imported after it."""
    untrusted.evaluate_plain_values_only()


def test_no_module_of_fairseq_keeps_an_eval_that_runs_code():
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
    # the other modules, such as speech datasets, are not imported by any command
    assert all(name.startswith("fairseq.data.") for name in set(evaluating) - set(loaded)), evaluating


@pytest.mark.parametrize(("module", "task"), [(validate, "translation"), (eval_lm, "language_modeling")])
def test_commands_refuse_code_as_overrides(monkeypatch, tmp_path, module, task):
    """fairseq-generate and fairseq-interactive read them as literals."""
    code = f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()"
    (tmp_path / "dict.txt").write_text("word 1\n")
    arguments = ["--task", task, "--path", "none.pt", "--max-tokens", "9", "--cpu", "--model-overrides", code]
    monkeypatch.setattr(sys, "argv", ["fairseq", str(tmp_path), *arguments])
    with pytest.raises(UserError, match="is not a plain value, and fairseq would run it as code"):
        module.cli_main()
    assert not (tmp_path / "ran").exists()


def test_every_option_that_fairseq_evaluates_is_checked_in_checkpoints():
    """Found in its sources as ``eval(args.NAME)``, or with one of its functions that call eval."""
    found = set()
    for file in Path(fairseq.__file__).parent.rglob("*.py"):
        if "examples" not in file.parts:
            text = file.read_text(encoding="utf-8")
            found |= set(re.findall(r"\beval(?:_str_list|_str_dict|_bool)?\(\s*(?:self\.)?(?:args|cfg)\.(\w+)", text))
    assert {"adam_betas", "adaptive_softmax_cutoff", "decoder_attention", "left_pad_source"} <= found
    for name in found:
        with pytest.raises(UserError, match=f"^{name}: .* is not a plain value"):
            untrusted.require_plain(name, "exit()")


PLAIN = [
    *("(0.9, 0.98)", " [(512, 3)] * 2 + [(1, 2)]", "10000", "True", "None", "{'a': [1, 2.5, None]}", "-1", "1e-3"),
    *("3 * (2, 4)", "20000 * 2", "[0] * 10000", "[1] * -1", "'ab' * 2 + 'c'"),
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_values_equal_those_of_eval(text):
    assert plain_value(text) == eval(text)


REFUSED = [
    *("exit()", "__import__('os')", "a.b", "name", "lambda: 0", "1 if x else 2", "[x for x in 'ab']", "f'{exit()}'"),
    *("(" * 5000, "", "9**9", "9**9**9", "'a' - 1", b"exit()"),
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_code_is_refused_and_not_run(text):
    with pytest.raises(UserError, match=r"is not a plain value|got bytes"):
        plain_value(text)
    with pytest.raises(UserError):
        utils.eval_str_list(text) if isinstance(text, str) else utils.eval_bool(text)


@pytest.mark.parametrize(
    "text",
    [
        *("[0]*10**9", "[0] * 99999", "[0]*9999*9999", "9999*(9999*[0])", "[[0]*9999]*9999", "([0]*9999,)*9999"),
        *("'a' * 9999 * 9999", "b'a' * 9999 * 9999", "[0]" + " + [0] * 9999" * 50),
    ],
    ids=lambda text: text[:20],
)
def test_long_values_are_refused_before_they_are_built(text):
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="is not a plain value"):
            plain_value(text)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_values_other_than_text_are_handled_as_before():
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

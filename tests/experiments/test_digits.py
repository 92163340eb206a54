"""The digits example: its data, its networks, and a short study."""

import json
import subprocess
import sys

import digits
import pytest
import torch
from digits import INITIALIZATIONS, NETWORKS, RATES, Run, best_rate, build, load_splits, summed_loss, table
from torch import nn


def test_the_splits_share_no_image_and_are_always_the_same():
    splits, again = load_splits(), load_splits()
    assert [len(targets) for _, targets in splits.values()] == [1000, 297, 500]
    assert all(torch.equal(splits[name][0], again[name][0]) for name in splits)
    images = torch.cat([inputs for inputs, _ in splits.values()]).flatten(1)
    assert len(images.unique(dim=0)) == len(images)


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_have_the_layers_in_their_names(network):
    model = build(network)
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 20
    assert len(norms) == (20 if network.endswith("-bn") else 0)


def test_runs_in_which_gradinit_could_not_learn_are_told_from_others():
    own = {"network": "plain", "optimizer": "adam", "initialization": "gradinit", "loss": 1.0, "test": 50.0}
    failed = own | {"rate": 1e-2, "validation": 90.0, "gradinit_error": "not finite"}
    learned = own | {"rate": 1e-3, "validation": 80.0, "gradinit_error": None}
    assert best_rate([failed, learned], "plain", "adam", "gradinit") == 1e-3
    others = [
        {**own, "network": network, "optimizer": optimizer, "initialization": name, "rate": 1.0, "gradinit_error": None}
        for network in NETWORKS
        for optimizer in RATES
        for name in INITIALIZATIONS
    ]
    shown = table([*others, failed])
    assert shown.count("(1 of 2 not learned)") == 1


def test_gradinit_trains_a_deep_plain_network_that_stays_at_chance_by_default():
    settings = {"network": "plain", "optimizer": "adam", "rate": 1e-3, "seed": 1, "epochs": 12}
    outcomes = [Run(initialization=name, **settings).train() for name in ("default", "gradinit")]
    assert outcomes[0]["test"] < 30
    assert outcomes[1]["test"] > 60


def test_a_study_resumes_where_it_stopped(tmp_path, monkeypatch, capsys):
    """One network and two rates, which is all that a short test has time for."""
    monkeypatch.setattr(digits, "NETWORKS", ("plain-bn",))
    monkeypatch.setattr(digits, "RATES", {"sgd": (0.01,), "adam": (1e-3,)})
    line = ["digits.py", "--output", tmp_path, "--seeds", "1", "--epochs", "1", "--iterations", "2", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", list(map(str, line)))
    digits.main()
    first, rows = capsys.readouterr().out, (tmp_path / "runs.jsonl").read_text().splitlines()
    assert len(rows) == 2 * 2
    assert all(json.loads(row)["gradinit_error"] is None for row in rows)
    (tmp_path / "runs.jsonl").write_text("\n".join(rows[:-2]) + "\n" + rows[-2][:40])  # the last line cut by a kill
    digits.main()
    assert capsys.readouterr().out == first
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == len(rows)


def test_the_study_starts_from_the_command_line(root):
    line = [sys.executable, root / "experiments/digits/digits.py", "--help"]
    assert "--seeds" in subprocess.run(line, cwd=root, capture_output=True, text=True, check=True).stdout


def test_the_loss_is_summed_over_images():
    images = load_splits()["validation"]
    network = build("plain")
    loss, size = summed_loss(network, images)
    halves = [summed_loss(network, (images[0][part], images[1][part])) for part in (slice(100), slice(100, None))]
    assert size == 297 == sum(size for _, size in halves)
    assert loss.item() == pytest.approx(sum(loss.item() for loss, _ in halves), rel=1e-5)

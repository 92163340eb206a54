"""Our checkpoint in fairseq's other stock commands, and training with fairseq-hydra-train."""

from short_runs import ADAM, GRADINIT, same_model


def test_generate_translates_every_test_sentence(fairseq, trained):
    output = fairseq.run(
        *("generate", "--path", trained / "checkpoint_best.pt", "--cpu", "--max-len-b", "10"),
        *("--required-batch-size-multiple", "1"),  # without it, generate drops what is left over from batches of 8
    )
    numbers = [int(line.split("\t")[0][2:]) for line in output.splitlines() if line.startswith("H-")]
    assert sorted(numbers) == list(range(20))


def test_interactive_translates_standard_input(fairseq, trained):
    output = fairseq.run(
        *("interactive", "--path", trained / "checkpoint_best.pt", "--cpu", "--bpe", "sentencepiece"),
        *("--sentencepiece-model", fairseq.corpus / "sentencepiece.model", "--max-len-b", "10"),
        stdin="Der Hund schläft.\n",
    )
    assert "S-0\t" in output
    assert len([line for line in output.splitlines() if line.startswith("H-0\t")]) == 1


def test_validate_gives_the_loss_that_training_logged(fairseq, trained):
    log = (trained.parent / "log").read_text()
    expected = log.split('"valid_loss": "')[1].split('"')[0]
    output = fairseq.run(
        *("validate", "--path", trained / "checkpoint_best.pt", "--cpu", "--max-tokens", "400"),
        *("--task", "gradinit_translation", "--log-format", "json", "--log-interval", "100"),
    )
    assert f'"valid_loss": "{expected}"' in output, output[-2000:]


def test_hydra_train_with_the_config_in_docs_gives_the_run_of_the_flat_command_line(fairseq, forks, trained, tmp_path):
    overrides = [
        f"common.user_dir={fairseq.root / 'gradinit_mt'}",
        *("common.seed=7", f"task.data={fairseq.corpus / 'bin'}", "+task.gradinit_iterations=6"),
        *("+task.gradinit_tau=0.02", "+model.encoder_layers=2", "+model.encoder_embed_dim=32"),
        *("+model.encoder_ffn_embed_dim=64", "+model.encoder_attention_heads=2", "dataset.max_tokens=400"),
        *("dataset.required_batch_size_multiple=8", "optimization.lr=[0.001]", "optimization.max_update=8"),
        *(f"checkpoint.save_dir={tmp_path / 'run'}", f"hydra.run.dir={tmp_path / 'hydra'}"),
    ]
    config = ("--config-dir", fairseq.root / "docs", "--config-name", "hydra")
    status, output = forks.run("fairseq_cli.hydra_train", *config, *overrides)
    assert status == 0, output[-6000:]
    assert same_model(tmp_path / "run", trained)


def test_checkpoints_with_a_running_bleu_are_loaded_again(fairseq, tmp_path):
    bleu = ["--eval-bleu", "--eval-bleu-args", '{"beam": 1, "max_len_b": 5}', "--eval-bleu-remove-bpe", "sentencepiece"]
    settings = ["--task", "gradinit_translation", "--no-gradinit", *ADAM, *bleu, "--total-num-update", "4"]
    assert "valid_bleu" in fairseq.train(tmp_path / "run", 2, *settings)
    assert "Loaded checkpoint" in fairseq.train(tmp_path / "run", 4, *settings)


def test_a_bad_option_ends_the_run_with_its_name(fairseq, tmp_path):
    output = fairseq.train(tmp_path / "run", 2, *GRADINIT, *ADAM, "--gradinit-iterations", "0", fails=True)
    assert "iterations is 0, expected at least 1" in output
    assert not list(tmp_path.glob("run/*.pt"))

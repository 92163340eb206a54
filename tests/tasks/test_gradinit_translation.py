"""The task: which sentences GradInit's batches contain, and how it translates."""

import argparse

import torch
from fairseq.models import build_model
from fairseq.sequence_generator import SequenceGenerator

from gradinit_mt.plugin.batches import batches_of
from gradinit_mt.plugin.options import GradInitTranslationConfig
from gradinit_mt.tasks.gradinit_translation import GradInitTranslationTask


def test_sentences_that_fit_no_batch_or_exceed_the_model_are_left_out(toy_corpus):
    settings = {"lr": [5e-4], "seed": 1, "batch_size": None, "dataset_impl": None, "num_batch_buckets": 0}
    settings |= {"max_source_positions": 1024, "max_target_positions": 1024, "source_lang": "de", "target_lang": "en"}
    settings |= {
        "save_dir": "none",
        "restore_file": "checkpoint_last.pt",
        "checkpoint_suffix": "",
        "continue_once": None,
        "ddp_backend": "c10d",
    }
    settings |= {
        "finetune_from_model": None,
        "pipeline_model_parallel": False,
        "model_parallel_size": 1,
        "use_bmuf": False,
    }
    cfg = GradInitTranslationConfig(
        data=str(toy_corpus / "bin"), train_subset="train", gradinit_max_tokens=30, **settings
    )
    task = GradInitTranslationTask.setup_task(cfg)
    task.load_dataset("train")
    model = torch.nn.Linear(1, 1)
    model.max_positions = lambda: (25, 20)
    source = batches_of(task, model)
    kept = [index for batch in source.batches for index in batch]
    sizes = task.dataset("train").sizes
    assert sorted(kept) == [i for i, (source, target) in enumerate(sizes) if source <= 25 and target <= 20]
    assert 0 < len(kept) < len(sizes)


def test_a_prefix_is_continued_as_by_fairseqs_own_search(task, dictionary):
    """It need not consist of the best tokens, which alone the narrow search hands on."""
    torch.manual_seed(1)
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "max_source_positions": 64, "max_target_positions": 64}
    model = build_model(argparse.Namespace(_name="post_ln_transformer_tiny", **sizes), task).eval()
    tokens = torch.randint(4, len(dictionary), (5, 6))
    sample = {"net_input": {"src_tokens": tokens, "src_lengths": torch.full((5,), 6)}}
    prefix = tokens[:, 2:4]
    generator = SequenceGenerator([model], dictionary, beam_size=2, max_len_b=9)
    expected = generator.generate([model], sample, prefix_tokens=prefix)
    cfg = GradInitTranslationConfig(no_gradinit=True, precision="float32", fp16=False, bf16=False, amp=False)
    ours = GradInitTranslationTask(cfg, dictionary, dictionary)
    found = ours.inference_step(generator, [model], sample, prefix_tokens=prefix)
    for mine, theirs, start in zip(found, expected, prefix, strict=True):
        assert [each["tokens"].tolist() for each in mine] == [each["tokens"].tolist() for each in theirs]
        assert torch.equal(mine[0]["tokens"][:2], start)

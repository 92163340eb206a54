"""The task: which sentences GradInit's batches contain."""

import torch

from gradinit_mt.plugin.batches import batches_of
from gradinit_mt.plugin.options import GradInitTranslationConfig
from gradinit_mt.tasks.gradinit_translation import GradInitTranslationTask


def test_sentences_that_fit_no_batch_or_exceed_the_model_are_left_out(toy_corpus):
    settings = {"lr": [5e-4], "seed": 1, "batch_size": None, "dataset_impl": None, "num_batch_buckets": 0}
    settings |= {"max_source_positions": 1024, "max_target_positions": 1024, "source_lang": "de", "target_lang": "en"}
    settings |= {"save_dir": "none", "restore_file": "checkpoint_last.pt", "continue_once": None, "ddp_backend": "c10d"}
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

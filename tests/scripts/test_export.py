"""scripts/export.sh and scripts/translate.sh: CTranslate2 translates as fairseq does."""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import ctranslate2
import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models import build_model
from toy import TEST_SENTENCES, call

import gradinit_mt
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import sha256
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.text import read_lines
from gradinit_mt.evaluation import export, run, translate, vocabulary_map
from gradinit_mt.evaluation.translate import ExportedModel, Search, translate_subwords, translate_text
from gradinit_mt.evaluation.vocabulary_map import likely_translations
from gradinit_mt.plugin.checkpoints import untrusted
from gradinit_mt.training import checkpoints


def export_here(save_dir, output, *arguments) -> Path:
    """Exports in this process, which saves seconds of imports."""
    options = export.parse_arguments([str(argument) for argument in (save_dir, "--output", output, *arguments)])
    export.export(options)
    return output


def search(beam=5, length_penalty=1.0) -> Search:
    return Search(beam=beam, length_penalty=length_penalty, max_tokens=400, threads=1)


@pytest.fixture(scope="module")
def script(root, tmp_path_factory):
    """Calls a script from another directory."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def call_script(name, *arguments, **options):
        environment = {"GRADINIT_MT_PYTHON": sys.executable}
        return call(root / "scripts" / name, *arguments, cwd=elsewhere, env=environment, **options)

    return call_script


@pytest.fixture(scope="module")
def exported(toy, script, tmp_path_factory) -> ExportedModel:
    """The best checkpoint in float32."""
    directory = tmp_path_factory.mktemp("exported") / "model"
    done = script("export.sh", toy.run, "--output", directory)
    assert done.returncode == 0, done.stderr
    return ExportedModel.load(directory)


@pytest.fixture(scope="module")
def sources(toy) -> list[str]:
    """The test set as subwords, and lines unlike it: an unknown subword, several sentences, one subword."""
    test = read_lines(toy.corpus / "test.de")
    return [*test, f"▁Das ▁ never {test[0]}", " ".join(test[:9]), "▁ja", "."]


@pytest.fixture(scope="module")
def fairseq_search(toy, sources):
    """fairseq's beam search: hypotheses as subwords, their scores, and the log-probability of each subword."""
    from fairseq import checkpoint_utils
    from fairseq.sequence_generator import SequenceGenerator

    gradinit_mt.register_with_fairseq()
    overrides = {"data": str(toy.corpus / "bin"), "source_lang": "de", "target_lang": "en"}
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(toy.run / "checkpoint_best.pt")], overrides)
    model.eval()

    def translate_one(generator, line):
        tokens = task.source_dictionary.encode_line(line, line_tokenizer=str.split, add_if_not_exist=False).long()[None]
        sample = {"net_input": {"src_tokens": tokens, "src_lengths": torch.tensor([tokens.shape[1]])}}
        best = generator.generate([model], sample)[0][0]
        return task.target_dictionary.string(best["tokens"]), float(best["score"]), best["positional_scores"]

    def translate_all(beam, length_penalty):
        settings = {"beam_size": beam, "len_penalty": length_penalty}
        generator = SequenceGenerator([model], task.target_dictionary, **settings)
        return list(zip(*(translate_one(generator, line) for line in sources), strict=True))

    return translate_all


@pytest.mark.parametrize(("beam", "length_penalty"), [(5, 1.0), (1, 1.0), (4, 0.5), (5, 2.0), (3, -0.5)])
def test_the_hypotheses_are_those_of_fairseq_token_for_token(exported, fairseq_search, sources, beam, length_penalty):
    hypotheses, *_ = fairseq_search(beam, length_penalty)
    assert len(set(hypotheses)) > 40
    assert translate_subwords(exported, sources, search(beam, length_penalty)) == list(hypotheses)


def test_without_length_penalty_the_hypotheses_are_at_least_as_probable(exported, fairseq_search, sources):
    """CTranslate2 also waits until the best one has ended."""
    ours = translate_subwords(exported, sources, search(length_penalty=0.0))
    hypotheses, probabilities, _ = fairseq_search(5, 0.0)
    translator = ctranslate2.Translator(str(exported.directory))
    scored = translator.score_batch([line.split() for line in sources], [line.split() for line in ours])
    for result, ours_one, theirs, probability in zip(scored, ours, hypotheses, probabilities, strict=True):
        assert sum(result.log_probs) > probability - 1e-4
        assert ours_one == theirs or sum(result.log_probs) > probability


def test_the_log_probability_of_each_subword_is_that_of_fairseq(exported, fairseq_search, sources):
    hypotheses, _, expected = fairseq_search(5, 1.0)
    translator = ctranslate2.Translator(str(exported.directory))
    scored = translator.score_batch([line.split() for line in sources], [line.split() for line in hypotheses])
    for result, log_probabilities in zip(scored, expected, strict=True):
        assert result.log_probs == pytest.approx(log_probabilities.tolist(), abs=2e-5)


def test_an_evaluation_scores_as_with_fairseq_generate(toy, exported, tmp_path):
    """The same texts, scores and settings but for what was exported, so that a paired test finds no difference."""

    def evaluate(name, *arguments):
        options = [toy.run, "--cpu", "--beam", "3", "--output", tmp_path / name, *arguments]
        return run.evaluate(run.parse_arguments([str(option) for option in options]))

    stock, ours = evaluate("stock"), evaluate("ours", "--exported", exported.directory)
    for name in ("hypotheses.detok.txt", "hypotheses.tok.lc.txt", "reference.detok.txt", "reference.tok.lc.txt"):
        assert (ours / name).read_bytes() == (stock / name).read_bytes()
    theirs, result = (json.loads((directory / "scores.json").read_text()) for directory in (stock, ours))
    assert result["scores"] == theirs["scores"] and result["checkpoint"] == theirs["checkpoint"]
    assert result["settings"].pop("exported_sha256")
    assert result["settings"] == theirs["settings"]
    assert "beam 3, lenpen 1.0, CTranslate2 (float32); 0 unknown" in (ours / "scores.txt").read_text()
    other = tmp_path / "other"
    shutil.copytree(exported.directory, other)
    (other / "sentencepiece.model").write_bytes(b"other")
    stored = json.loads((other / "export.json").read_text())
    stored["subword_sha256"]["sentencepiece.model"] = sha256(other / "sentencepiece.model")
    (other / "export.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match="its subwords are not those of"):
        evaluate("mixed", "--exported", other)


def test_plain_text_is_translated_line_by_line(toy, exported, script):
    text = read_lines(toy.corpus / "raw" / "test.de")
    done = script("translate.sh", exported.directory, "--threads", "1", input="\n".join([*text, "", "  ", text[0]]))
    assert done.returncode == 0, done.stderr
    translations = done.stdout.removesuffix("\n").split("\n")
    subwords = translate_subwords(exported, read_lines(toy.corpus / "test.de"), search())
    expected = [line.replace(" ", "").replace("▁", " ").strip() for line in subwords]
    assert translations == [*expected, "", "", expected[0]]
    assert len(expected) == TEST_SENTENCES


def test_a_quantized_average(toy, exported, tmp_path):
    directory = export_here(toy.run, tmp_path / "model", "--average", "2", "--quantization", "int8")
    model = ExportedModel.load(directory)
    assert model.quantization == "int8" and len(model.checkpoint["averaged_from"]) == 2
    sizes = [(path / "model.bin").stat().st_size for path in (exported.directory, directory)]
    assert sizes[1] < 0.6 * sizes[0]
    (translation,) = translate_text(model, ["Das Hund mag ein Haus, ja."], search())
    assert translation.endswith(", yes.")


def test_the_likely_translations_are_those_of_a_corpus_with_one_reading():
    """Every word is translated by its capitals; "a" occurs in every sentence, so counting pairs alone would not do."""
    sources = [["a", "b"], ["a", "c"], ["a", "b", "c"], ["a", "d"], ["a", "d", "b"]]
    targets = [[word.upper() for word in reversed(source)] for source in sources]
    assert likely_translations(sources, targets, 1) == {"a": ["A"], "b": ["B"], "c": ["C"], "d": ["D"]}
    assert len(likely_translations(sources, targets, 3)["a"]) == 3


def test_with_a_vocabulary_map_only_its_subwords_are_translations(toy, exported, sources, tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary_map, "FREQUENT", 9)
    model = ExportedModel.load(export_here(toy.run, tmp_path / "model", "--vocabulary-map", "2"))
    assert model.kind == "float32-map2" and exported.kind == "float32"
    lines = (model.directory / "vmap.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    allowed = {source: set(targets.split(" ")) for source, targets in (line.split("\t") for line in lines)}
    assert len(allowed[""]) == 9 and all(2 <= len(allowed[source]) <= 3 for source in allowed if source)
    shared = allowed.keys() & set(" ".join(read_lines(toy.corpus / "train.en")).split())
    assert shared and all(source in allowed[source] for source in shared)

    alone = [translate_subwords(model, [source], search())[0] for source in sources]
    for source, translation in zip(sources, alone, strict=True):
        likely = allowed[""].union(*(allowed.get(subword, set()) for subword in source.split()))
        assert set(translation.split()) <= likely | {"<unk>"}
    whole = translate_subwords(exported, sources, search())
    assert any(set(one.split()) - set(other.split()) for one, other in zip(whole, alone, strict=True))


def test_a_vocabulary_map_of_every_subword_changes_nothing(toy, exported, sources, tmp_path):
    model = ExportedModel.load(export_here(toy.run, tmp_path / "model", "--vocabulary-map", "20"))
    subwords = json.loads((model.directory / "shared_vocabulary.json").read_text(encoding="utf-8"))
    (model.directory / "vmap.txt").write_text(f"\t{' '.join(subwords)}\n", encoding="utf-8")
    assert translate_subwords(model, sources, search()) == translate_subwords(exported, sources, search())


def test_an_evaluation_knows_the_vocabulary_map(toy, tmp_path):
    model = export_here(toy.run, tmp_path / "model", "--vocabulary-map", "20", "--quantization", "int8")
    options = [toy.run, "--output", tmp_path / "result", "--exported", model]
    result = run.evaluate(run.parse_arguments([str(option) for option in options]))
    assert "CTranslate2 (int8-map20); 0 unknown" in (result / "scores.txt").read_text()
    with pytest.raises(UserError, match=r"a result with other settings \(max_tokens 256 there, 100 here\)"):
        run.evaluate(run.parse_arguments([str(option) for option in (*options, "--max-tokens", "100")]))
    (model / "vmap.txt").write_text("\t.\n")
    with pytest.raises(UserError, match=r"a result with other settings \(vocabulary_map_sha256"):
        run.evaluate(run.parse_arguments([str(option) for option in options]))


def test_a_model_directory_is_never_overwritten(toy, exported):
    before = {path.name: path.read_bytes() for path in exported.directory.iterdir()}
    with pytest.raises(UserError, match="already exists"):
        export_here(toy.run, exported.directory)
    assert {path.name: path.read_bytes() for path in exported.directory.iterdir()} == before


@pytest.fixture
def weighted(toy):
    """A state with random residual weights of both signs, and its model: 2+2 layers, untrained."""
    options = {"_name": "post_ln_transformer_tiny", "residual_weights": "trainable", "dropout": 0.0}
    options |= {"encoder_layers": 2, "encoder_embed_dim": 16, "share_decoder_input_output_embed": True}
    options |= {"encoder_normalize_before": False, "decoder_normalize_before": False, "activation_fn": "relu"}
    options |= {"encoder_attention_heads": 2, "max_source_positions": 99, "max_target_positions": 99}
    source, target = (Dictionary.load(str(toy.corpus / "bin" / f"dict.{lang}.txt")) for lang in ("de", "en"))
    task = SimpleNamespace(source_dictionary=source, target_dictionary=target)
    torch.manual_seed(3)
    model = build_model(argparse.Namespace(**options), task).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("residual_weight"):
                parameter.copy_(torch.empty_like(parameter).uniform_(0.3, 3) * torch.randn_like(parameter).sign())
            elif parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    settings = options | {"encoder_ffn_embed_dim": 256, "decoder_layers": 2}
    return {"cfg": {"model": settings}, "model": model.state_dict()}, model, task


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_residual_weights_are_folded_into_other_parameters(toy, weighted, tmp_path, dtype):
    state, model, task = weighted
    state["model"] = {name: value.to(dtype) for name, value in state["model"].items()}
    model.load_state_dict(state["model"])
    export.convert(state, PreparedCorpus.load(toy.corpus), tmp_path / "model", "float32")
    lines = [read_lines(toy.corpus / f"test.{lang}")[:9] for lang in ("de", "en")]
    scored = ctranslate2.Translator(str(tmp_path / "model")).score_batch(*[[t.split() for t in side] for side in lines])
    for source, target, result in zip(*lines, scored, strict=True):
        given = task.source_dictionary.encode_line(source, add_if_not_exist=False).long()
        wanted = task.target_dictionary.encode_line(target, add_if_not_exist=False).long()
        with torch.no_grad():
            logits = model(given[None], torch.tensor([len(given)]), wanted.roll(1)[None])[0][0]
        expected = logits.log_softmax(-1).gather(1, wanted[:, None])[:, 0]
        assert result.log_probs == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_residual_weight_of_0_cannot_be_folded(toy, weighted, tmp_path):
    state, *_ = weighted
    state["model"]["decoder.layers.1.encoder_attn_residual_weight"][3] = 0
    with pytest.raises(ValueError, match=r"decoder\.layers\.1\.encoder_attn_residual_weight has an entry of 0"):
        export.convert(state, PreparedCorpus.load(toy.corpus), tmp_path / "model", "float32")


def spoil(state: dict, **settings) -> None:
    state["cfg"]["model"] |= settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: spoil(state, _name="fconv"), "its model is 'fconv'; expected one of"),
        (lambda state: spoil(state, decoder_attention_heads=2), "--decoder-attention-heads must have the same value"),
        (lambda state: spoil(state, activation_fn="tanh"), "--activation-fn tanh is not supported"),
        (lambda state: spoil(state, encoder_layers=2), r"state_dict.*encoder\.layers\.1"),
        (lambda state: state["model"].pop("decoder.embed_tokens.weight"), "its decoder has 0 subwords, the dictionary"),
        (lambda state: state["cfg"]["task"].update(source_lang="en", target_lang="de"), "trained from en to de"),
        (lambda state: state.update(task_state=Path("a")), "holds objects of type pathlib"),
    ],
    ids=["model", "heads", "activation", "layers", "parameters", "languages", "pickle"],
)
def test_a_checkpoint_that_cannot_be_exported_is_named(toy, tmp_path, change, message):
    state = checkpoints.load(toy.run / "checkpoint_best.pt")
    change(state)
    torch.save(state, tmp_path / "spoiled.pt")
    with pytest.raises(UserError, match=f"spoiled.pt: .*{message}") as caught:
        export_here(toy.run, tmp_path / "model", "--checkpoint", tmp_path / "spoiled.pt")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["spoiled.pt"]


def test_text_in_a_checkpoint_would_not_run_even_if_it_were_not_refused(toy, tmp_path, monkeypatch):
    """fairseq would evaluate this option, and read embeddings from the file."""
    monkeypatch.setattr(untrusted, "require_harmless", lambda *_, **__: None)
    state, sign = checkpoints.load(toy.run / "checkpoint_best.pt"), tmp_path / "sign"
    code = f"__import__('pathlib').Path({str(sign)!r}).touch()"
    spoil(state, _name="transformer", adaptive_softmax_cutoff=code, encoder_embed_path="/nowhere")
    torch.save(state, tmp_path / "crafted.pt")
    model = ExportedModel.load(export_here(toy.run, tmp_path / "m", "--checkpoint", tmp_path / "crafted.pt"))
    assert translate_text(model, ["Das Hund mag ein Haus."], search()) and not sign.exists()


def test_what_cannot_be_translated_is_refused(exported, tmp_path):
    with pytest.raises(UserError, match=r"not an exported model .*scripts/export\.sh"):
        ExportedModel.load(tmp_path)
    (tmp_path / "export.json").write_text('{"format": 7}')
    with pytest.raises(UserError, match="format 7, expected 3; export it again"):
        ExportedModel.load(tmp_path)
    with pytest.raises(UserError, match=r"line 3: \d,\d+ subwords with its end, expected at most 1,024"):
        translate_text(exported, ["ja", "", "ja " * 1500], search())
    shutil.copytree(exported.directory, tmp_path / "damaged")
    (tmp_path / "damaged" / "model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="damaged: CTranslate2 cannot load it"):
        translate_subwords(ExportedModel.load(tmp_path / "damaged"), ["▁ja"], search())


def test_avx512_is_used_where_the_processor_has_all_of_it(monkeypatch):
    needed = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    for flags, chosen, expected in (
        (needed | {"sse2"}, None, "AVX512"),
        (needed - {"avx512cd"}, None, None),
        (needed, "AVX2", "AVX2"),
    ):
        monkeypatch.setattr(translate, "instruction_sets", lambda flags=flags: flags)
        monkeypatch.setenv("CT2_FORCE_CPU_ISA", chosen or "")
        if not chosen:
            monkeypatch.delenv("CT2_FORCE_CPU_ISA")
        translate.load_ctranslate2()
        assert os.environ.get("CT2_FORCE_CPU_ISA") == expected


def test_an_absent_ctranslate2_is_an_error_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(UserError, match=r"CTranslate2 cannot be imported .*scripts/install\.sh"):
        translate.load_ctranslate2()


@pytest.mark.parametrize("closed", ["stdin", "stdout"])
def test_a_closed_input_or_output_is_an_error_of_one_line(monkeypatch, closed):
    """As with ``<&-`` in a shell."""
    monkeypatch.setattr(sys, closed, None)
    monkeypatch.setattr("sys.argv", ["translate.sh", "model"])
    with pytest.raises(UserError, match="standard input or output is closed"):
        translate.main()

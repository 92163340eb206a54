"""The two preparation scripts, run as users run them."""

import os
import signal
import subprocess
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler

import pytest

from gradinit_mt.common.files import sha256
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.text import read_lines, write_lines

LINES = [
    f"der {noun} {verb} die {thing} {n}"
    for n, noun in enumerate(("Hund", "Mann", "Baum", "Vogel"))
    for verb in ("sieht", "mag")
    for thing in ("Katze", "Stadt")
]


def run(root, script, *arguments, **options):
    """Runs a script of the checkout."""
    return subprocess.run([root / "scripts" / script, *map(str, arguments)], capture_output=True, text=True, **options)


def corpus_arguments(folder, output):
    for split in ("train", "valid", "test"):
        for lang in ("de", "en"):
            write_lines(folder / f"{split}.{lang}", LINES)
    prefixes = [argument for split in ("train", "valid", "test") for argument in (f"--{split}", split)]
    return [*prefixes, "--source", "de", "--target", "en", "--output", output, "--workers", "1"]


@pytest.mark.parametrize("script", ["prepare_iwslt14.sh", "prepare_corpus.sh"])
def test_help_names_the_script_and_nothing_is_imported_from_the_current_directory(root, tmp_path, script):
    (tmp_path / "random.py").write_text("raise ImportError('not the one of Python')")
    done = run(root, script, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: scripts/{script}")


def test_prepare_corpus_from_another_directory(root, tmp_path):
    done = run(root, "prepare_corpus.sh", *corpus_arguments(tmp_path, "my, own"), "--vocab-size", 50, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    corpus = PreparedCorpus.load(tmp_path / "my, own")
    assert f"train {len(LINES)}, valid {len(LINES)}, test {len(LINES)}" in done.stdout
    assert f"{corpus.sha256['train.de']}  train.de" in done.stdout
    assert done.stdout.splitlines()[-1].split(maxsplit=1) == ["next", "scripts/train.sh 'my, own'"]
    assert sha256(tmp_path / "my, own" / "train.de") == corpus.sha256["train.de"]


def test_error_is_one_line_and_status_2(root, tmp_path):
    arguments = corpus_arguments(tmp_path, "out")
    (tmp_path / "valid.en").unlink()
    done = run(root, "prepare_corpus.sh", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 1
    assert errors[0].startswith("error: valid.en: no such file")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("output", "long_line", "message"),
    [
        ("a:b", None, "fairseq splits paths at ':'; give a path without it"),
        ("caf\udce9", None, "caf\\udce9': not valid UTF-8; give another path"),
        ("link", None, "link: a broken symbolic link"),
        ("out", ("valid", "en", "Hund " * 1100), "valid.en, line 3: "),
        ("out", ("test", "de", "Katze " * 1100), "test.de, line 3: "),
    ],
)
def test_a_corpus_that_cannot_be_trained_on_or_translated_is_refused(root, tmp_path, output, long_line, message):
    arguments = corpus_arguments(tmp_path, output)
    (tmp_path / "link").symlink_to("gone")
    if long_line:
        split, lang, text = long_line
        write_lines(tmp_path / f"{split}.{lang}", [*LINES[:2], text, *LINES[3:]])
    done = run(root, "prepare_corpus.sh", *arguments, "--vocab-size", 50, cwd=tmp_path)
    assert done.returncode == 2
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: ") and message in error
    if long_line:
        assert "expected at most 1,024" in error and "or prepare with --max-positions" in error
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_termination_leaves_nothing(root, tmp_path):
    arguments = corpus_arguments(tmp_path, tmp_path / "parent" / "out")
    command = [root / "scripts" / "prepare_corpus.sh", *map(str, arguments), "--vocab-size", "50"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "binarizing" in line:
                assert len(list((tmp_path / "parent").iterdir())) == 1
                process.send_signal(signal.SIGTERM)
                break
        process.stderr.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "parent").exists()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without logging."""

    def log_message(self, *_):
        pass


def test_a_downloaded_archive_of_another_size_is_refused(root, tmp_path):
    (tmp_path / "de-en.tgz").write_bytes(b"something else")

    def handler(*arguments):
        return Quiet(*arguments, directory=tmp_path)

    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/de-en.tgz"
        environment = {**os.environ, "no_proxy": "127.0.0.1"}
        done = run(root, "prepare_iwslt14.sh", "--url", address, "--output", tmp_path / "c" / "out", env=environment)
        server.shutdown()
        thread.join()
    assert done.returncode == 2
    assert "offers 14 bytes, expected 19,982,877" in done.stderr
    assert not (tmp_path / "c").exists()


def test_layout_archive_gives_the_reference_checksums(root, shared_data, tmp_path):
    archive = shared_data / "iwslt14-layout" / "de-en.tgz"
    output = tmp_path / "out"
    done = run(root, "prepare_iwslt14.sh", "--archive", archive, "--output", output, "--workers", 2)
    assert done.returncode == 0, done.stderr
    expected = dict(line.split()[::-1] for line in read_lines(archive.with_name("reference-output.sha256")))
    assert len(expected) == 7
    assert {name: sha256(output / name) for name in expected} == expected
    corpus = PreparedCorpus.load(output)
    assert corpus.counts == {"train": 34_768, "valid": 1_580, "test": 6_750}
    assert len(read_lines(corpus.raw("test", "en"))) == 6_750
    assert "not the release" in done.stdout

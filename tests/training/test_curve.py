"""Reading fairseq's logs, and drawing what was read."""

import json
import math

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.figures import write
from gradinit_mt.training.curve import draw, parse_run, read_log


def line(kind: str, **values) -> str:
    return f"2026-01-01 00:00:00 | INFO | {kind} | {json.dumps({'epoch': 1, **values})}\n"


def inner(update, loss, **values):
    return line("train_inner", loss="9", nll_loss=str(loss), num_updates=str(update), lr="0.001", **values)


def valid(update, loss):
    return line("valid", valid_loss="9", valid_nll_loss=str(loss), valid_num_updates=str(update))


@pytest.fixture
def log(tmp_path):
    def make(*lines, name="train.log"):
        path = tmp_path / name
        path.write_text("".join(lines))
        return path

    return make


def test_losses_and_rates_are_read_among_other_lines(log):
    path = log(
        "2026-01-01 00:00:00 | INFO | fairseq_cli.train | {'not': 'json'}\n",
        inner(10, 8.5),
        valid(15, 7.25),
        line("train", train_loss="8", train_nll_loss="8", train_num_updates="15"),
        inner(20, 6.5),
        inner(30, 6.0)[:-20],
    )
    curve = read_log(path, "a")
    assert curve.training == {10: 8.5, 20: 6.5}
    assert curve.validation == {15: 7.25}
    assert curve.learning_rate == {10: 0.001, 20: 0.001}


def test_of_updates_logged_twice_the_later_ones_count_and_the_order_stays(log):
    curve = read_log(log(inner(10, 8), inner(20, 7), inner(30, 6), inner(20, 7.5), inner(40, 5)), "a")
    assert list(curve.training.items()) == [(10, 8.0), (20, 7.5), (30, 6.0), (40, 5.0)]


@pytest.mark.parametrize(
    "began",
    ["No existing checkpoint found run/checkpoint_last.pt", "Loaded checkpoint other/best.pt (epoch 9 @ 9 updates)"],
)
def test_what_a_start_logged_that_saved_nothing_is_left_out(log, began):
    trainer = "2026-01-01 00:00:00 | INFO | fairseq.trainer |"
    beginning, resumed = f"{trainer} {began}\n", f"{trainer} Loaded checkpoint run/checkpoint_last.pt (epoch 1)\n"
    killed = [beginning, inner(10, 9.5), valid(10, 9), inner(15, 9.25), inner(30, 9)]
    curve = read_log(log(*killed, beginning, inner(20, 7), valid(20, 6), resumed, inner(40, 5)), "a")
    assert curve.training == {20: 7.0, 40: 5.0}
    assert curve.validation == {20: 6.0}
    assert list(curve.learning_rate) == [20, 40]


def test_without_label_smoothing_the_loss_itself_is_read(log):
    lines = (
        line("train_inner", loss="8.5", num_updates="10", lr="0.1"),
        line("valid", valid_loss="7", valid_num_updates="10"),
    )
    curve = read_log(log(*lines), "a")
    assert curve.training == {10: 8.5} and curve.validation == {10: 7.0}


@pytest.mark.parametrize("lines", [(), (valid(10, 7.0),), ("| INFO | train_inner | epoch 1: loss 9\n",)])
def test_a_log_without_training_loss_is_refused(log, lines):
    with pytest.raises(UserError, match="--log-format json"):
        read_log(log(*lines), "a")


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(UserError, match=r"train.log: no such log"):
        read_log(tmp_path / "train.log", "a")


def test_the_picture_shows_the_curves_of_all_runs(log):
    first = read_log(log(inner(10, 8), valid(10, 7.5), inner(20, 6), name="a.log"), "with warmup")
    second = read_log(log(inner(10, 9), inner(20, "nan"), name="b.log"), "without")
    figure = draw([first, second])
    loss, rate, perplexity = figure.axes
    drawn = [(list(item.get_xdata()), list(item.get_ydata())) for item in loss.get_lines()]
    assert ([10, 20], [8.0, 6.0]) in drawn and ([10], [7.5]) in drawn
    assert ([10], [9.0]) in drawn, "the last finite value of a failed run is marked"
    assert len(rate.get_lines()) == 2
    assert perplexity.get_ylim() == pytest.approx(tuple(2**bound for bound in loss.get_ylim()))
    [legend] = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["with warmup", "without", "training", "validation", "diverged: above 32 bits, or not finite"]
    figure.draw_without_rendering()
    assert not legend.get_window_extent().overlaps(loss.get_tightbbox()), "no curve is hidden"
    assert "bits" in loss.get_ylabel() and rate.get_xlabel() == "updates"


def test_a_diverged_run_is_drawn_up_to_its_divergence(log, tmp_path):
    """The perplexity of a loss above 1,024 bits exceeds the range of floats."""
    curve = read_log(log(inner(10, 9), valid(10, 9), inner(20, 2e5), valid(20, 3e5), inner(30, "inf")), "a")
    assert curve.training == {10: 9, 20: 2e5, 30: math.inf}
    figure = draw([curve])
    write(figure, tmp_path / "curve.png")
    loss = figure.axes[0]
    assert loss.get_ylim()[1] < 32
    assert all(max(item.get_ydata()) <= 9 for item in loss.get_lines())
    assert any(item.get_marker() == "x" for item in loss.get_lines())


def test_a_picture_does_not_replace_a_broken_link(log, tmp_path):
    (tmp_path / "curve.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match="a broken symbolic link"):
        write(draw([read_log(log(inner(10, 8)), "a")]), tmp_path / "curve.png")
    assert not (tmp_path / "gone.png").exists()


def test_pictures_are_written_atomically_and_never_overwritten(log, tmp_path):
    figure = draw([read_log(log(inner(10, 8), inner(20, math.pi)), "a")])
    signatures = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    for suffix, start in signatures.items():
        output = tmp_path / f"curve{suffix}"
        write(figure, output)
        assert output.read_bytes().startswith(start)
        with pytest.raises(UserError, match="already exists"):
            write(figure, output)
    with pytest.raises(UserError, match=r"\.png, \.svg, \.pdf"):
        write(figure, tmp_path / "curve.bmp")
    assert not list(tmp_path.glob(".*"))


def test_a_run_is_a_directory_or_a_log_with_or_without_a_name(tmp_path):
    directory = tmp_path / "seed1"
    directory.mkdir()
    assert parse_run(str(directory)) == ("seed1", directory / "train.log")
    assert parse_run(f"my run={directory}") == ("my run", directory / "train.log")
    assert parse_run("x=some.log")[1].name == "some.log"
    directory = directory.rename(tmp_path / "lr=1e-3")
    assert parse_run(str(directory)) == ("lr=1e-3", directory / "train.log")
    assert parse_run(f"a={directory}") == ("a", directory / "train.log")

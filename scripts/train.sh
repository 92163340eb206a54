#!/usr/bin/env bash
# Trains a Post-LN Transformer without warmup after GradInit, on all GPUs of the machine or else on the CPU.
#
#   scripts/train.sh DATA [--save-dir DIR] [--preset NAME] [--device cpu|gpu] [--processes N] [-- fairseq-train options]
#
# DATA is a prepared corpus (scripts/prepare_corpus.sh, scripts/prepare_iwslt14.sh); its name chooses the settings.
# The same command continues an interrupted run. Result in the save dir (default runs/<corpus>-seed1): checkpoints,
# gradinit.json, train.log, run.json and tensorboard/.
# Time: the embedded sample minutes, Multi30k about an hour on one CPU core.
# All options: scripts/train.sh --help
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "${GRADINIT_MT_PYTHON:-$root/.venv/bin/python}" -m gradinit_mt.training.launch "$@"

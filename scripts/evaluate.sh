#!/usr/bin/env bash
# Translates the test set (or the validation set) with a trained model and scores the translation.
#
#   scripts/evaluate.sh SAVE_DIR [--checkpoint best|last|FILE | --average N] [--split test|valid] [--data DIR]
#
# Result: SAVE_DIR/evaluation/<split>-<checkpoint>-beam5-lenpen1.0/ with hypotheses, fairseq's own output, scores.json
# and scores.txt. Printed: tokenized lowercase BLEU, sacreBLEU and chrF, each with its signature.
# Time: Multi30k's 1,000 sentences about 12 seconds on two CPU cores (4+4 layers, d 128); many minutes for a model that has
# not learned to end its sentences.
# All options: scripts/evaluate.sh --help
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "${GRADINIT_MT_PYTHON:-$root/.venv/bin/python}" -m gradinit_mt.evaluation.run "$@"

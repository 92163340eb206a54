#!/usr/bin/env bash
# Trains a Post-LN Transformer without warmup, after GradInit, on all GPUs of the machine or on the CPU if there is none.
#
#   scripts/train.sh DATA [--save-dir DIR] [--preset NAME] [--device cpu|gpu] [--processes N] [-- fairseq-train options]
#
# DATA is a prepared corpus (scripts/prepare_corpus.sh, scripts/prepare_iwslt14.sh); its name selects the preset.
# The same command continues an interrupted run. A run that learns nothing from its source is stopped with status 3.
# Expected: checkpoints, gradinit.json, train.log, run.json and tensorboard/ in DIR (default runs/<corpus>-seed1).
# Time on one CPU core with native bfloat16: minutes for the bundled sample, 25 to 40 minutes for Multi30k.
# All options: scripts/train.sh --help
set -euo pipefail

exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/python.sh" -m gradinit_mt.training.launch "$@"

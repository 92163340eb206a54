#!/usr/bin/env bash
# Exports a trained model to CTranslate2, with its vocabularies and subword model, to translate plain text without PyTorch.
#
#   scripts/export.sh SAVE_DIR --output DIR [--checkpoint best|last|FILE | --average N] [--quantization int8] \
#       [--vocabulary-map 20] [--data DIR]
#
# Expected: DIR with model.bin, the vocabularies, the subword model and export.json; scripts/translate.sh uses it, and
# scripts/evaluate.sh SAVE_DIR --exported DIR scores it.
# All options: scripts/export.sh --help
set -euo pipefail

exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/python.sh" -m gradinit_mt.evaluation.export "$@"

#!/usr/bin/env bash
# Translates plain text, one sentence per line, with a model exported by scripts/export.sh.
#
#   scripts/translate.sh MODEL_DIR [--beam N] [--length-penalty X] [--threads N] < source > target
#
# Expected: one line of plain text per line of the source, in its order; a blank line stays blank.
# All options: scripts/translate.sh --help
set -euo pipefail

exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/python.sh" -m gradinit_mt.evaluation.translate "$@"

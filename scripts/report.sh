#!/usr/bin/env bash
# Prints and draws what GradInit learned: scales by layer and role, their trajectories, the loss, the norm against gamma.
#   scripts/report.sh SAVE_DIR [--output scales.png]
# Expected: one table per stack of layers, and a picture with --output. All options: --help
set -euo pipefail
exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/python.sh" -m gradinit_mt.record.report "$@"

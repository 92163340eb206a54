#!/usr/bin/env bash
# Prints and draws what GradInit learned: scales by layer and role, their trajectories, the loss, the norm against gamma.
#   scripts/report.sh SAVE_DIR [--output scales.png]
# Expected: one table per stack of layers, and a picture with --output. All options: --help
set -euo pipefail
root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONSAFEPATH=1 # nothing is imported from the current directory
exec "${GRADINIT_MT_PYTHON:-$root/.venv/bin/python}" -m gradinit_mt.record.report "$@"

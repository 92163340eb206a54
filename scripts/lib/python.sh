#!/usr/bin/env bash
# Becomes the project's Python, with these arguments: that of .venv, or GRADINIT_MT_PYTHON.
set -euo pipefail

root="$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="${GRADINIT_MT_PYTHON:-$root/.venv/bin/python}"
if [ -z "${GRADINIT_MT_PYTHON:-}" ] && [ -d "$root/.venv" ] && [ ! -f "$root/.venv/.installed" ]; then
    echo "error: $root/.venv is unfinished; run make install" >&2
    exit 2
fi
if ! command -v "$python" >/dev/null; then
    echo "error: no $python; run make install, or set GRADINIT_MT_PYTHON" >&2
    exit 2
fi
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONSAFEPATH=1 # nothing is imported from the current directory
exec "$python" "$@"

#!/usr/bin/env bash
# Creates the virtual environment .venv with all dependencies.
#
#   scripts/install.sh [--dev | --study]
#
# PYTHON=python3.11 chooses the interpreter (3.11 to 3.13); the default is the first one found, starting with 3.11.
# --dev adds the tools for tests and linters. --study adds the workflow engine of experiments/comparison, in .venv-study.
# A second call does nothing unless a requirement has changed; an unfinished .venv is created again.
# Time: 1 to 2 minutes, plus the download of PyTorch. Compiling fairseq takes 2 to 5 more; it is needed with Python 3.13 and on
# all platforms except Linux on x86-64.
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
engine=$root/.venv-study
requirements=$root/requirements

fail() {
    echo "error: $1" >&2
    exit 2
}

step() { echo "=> $1" >&2; }

usable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 to 3.13 ($("$PYTHON" --version 2>&1 || true)); name one, for example: make demo PYTHON=python3.11"
        echo "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3.13 python3; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 to 3.13 found; install one (Debian, Ubuntu: apt install python3.11 python3.11-venv) or name one: make demo PYTHON=/path/to/python3.11"
}

# Checks the platform instead of asking pip, since a failed download would look like a missing wheel and start the compiler.
# glibc needs no check: PyTorch's wheel requires the same version or a newer one.
has_wheel() {
    "$1" -c 'import platform, sys; sys.exit((sys.platform, platform.machine()) != ("linux", "x86_64") or sys.version_info >= (3, 13))'
}

check_compilers() {
    for compiler in gcc g++; do
        command -v "$compiler" >/dev/null ||
            fail "no $compiler: fairseq's extensions need a C and a C++ compiler (Debian, Ubuntu: apt install build-essential)"
    done
    "$1" -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' ||
        fail "no Python.h for $1: install its headers (Debian, Ubuntu: apt install python3-dev, or python3.11-dev)"
}

# A stamp identifies the installed requirements; it is written last.
stamp() { cat "$requirements"/{torch,runtime,fairseq,fairseq-source,build}.txt "$root"/pyproject.toml | cksum; }
dev_stamp() { cksum <"$requirements/dev.txt"; }
study_stamp() { cksum <"$requirements/study.txt"; }
is_done() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

# All of pip's warnings are shown if it fails: they explain why a package was "not found".
pip_install() { pip_install_in "$venv" "$@"; }

pip_install_in() {
    local into=$1 output
    shift
    output=$("$into/bin/python" -m pip install --quiet --no-input --disable-pip-version-check "$@" 2>&1) || {
        echo "$output" >&2
        fail "pip failed; see its output above"
    }
}

install_all() {
    local python
    python=$(choose_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments; install its venv module (Debian, Ubuntu: apt install python3-venv)"
    has_wheel "$python" || check_compilers "$python"
    step "creating $venv with $("$python" --version): 1 to 2 minutes, plus the download of PyTorch"
    "$python" -m venv --clear "$venv"
    step "PyTorch"
    pip_install -r "$requirements/torch.txt"
    step "the other packages"
    pip_install -r "$requirements/runtime.txt"
    # Last, and without its dependency list, which includes packages that text never uses.
    if has_wheel "$python"; then
        step "fairseq (prebuilt)"
        pip_install --no-deps --only-binary :all: -r "$requirements/fairseq.txt"
    else
        step "compiling fairseq: 2 to 5 minutes"
        pip_install -r "$requirements/build.txt"
        pip_install --no-deps --no-build-isolation -r "$requirements/fairseq-source.txt"
    fi
    pip_install --no-deps --no-build-isolation --editable "$root"
    stamp >"$venv/.installed"
}

install_dev() {
    step "the tools of the tests and linters"
    pip_install -r "$requirements/dev.txt"
    dev_stamp >"$venv/.installed-dev"
}

install_study() {
    step "the workflow engine of the study, in $engine"
    "$venv/bin/python" -m venv --clear "$engine"
    pip_install_in "$engine" -r "$requirements/study.txt"
    study_stamp >"$engine/.installed"
}

[ $# -le 1 ] || fail "expected at most one option, found $*; call scripts/install.sh once for each"
case "${1:-}" in
"" | --dev | --study) ;;
-h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
*) fail "unknown option $1; see scripts/install.sh --help" ;;
esac

if [ -n "${PYTHON:-}" ] && is_done "$venv/.installed" "$(stamp)"; then
    usable "$PYTHON" && [ "$("$PYTHON" --version)" = "$("$venv/bin/python" --version)" ] ||
        fail "PYTHON=$PYTHON differs from the interpreter of $venv ($("$venv/bin/python" --version)); run make clean first"
fi
is_done "$venv/.installed" "$(stamp)" || install_all
if [ "${1:-}" = --dev ]; then
    is_done "$venv/.installed-dev" "$(dev_stamp)" || install_dev
fi
if [ "${1:-}" = --study ]; then
    is_done "$engine/.installed" "$(study_stamp)" || install_study
fi

#!/usr/bin/env bash
# Prepares any parallel text for training: a joint sentencepiece model, encoded splits, raw references, fairseq's bin/.
#   scripts/prepare_corpus.sh --train data/train --valid data/valid --test data/test --source de --target en --output DIR
# Expected: a summary with counts, vocabulary size and checksums. The same input always gives the same checksums.
# Time: about 15 seconds for 30,000 sentence pairs on 2 CPU cores. All options: --help
set -euo pipefail
exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/python.sh" -m gradinit_mt.corpora.parallel "$@"

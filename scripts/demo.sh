#!/usr/bin/env bash
# All steps on the bundled sample: prepare, learn scales, train without warmup, translate, score, plot.
#
#   make demo          (or scripts/demo.sh, after scripts/install.sh)
#
# Expected: a detokenized sacreBLEU above 60 on the 500 test sentences, and two plots, in runs/demo/.
# Time on two cores of an AMD EPYC with native bfloat16: 3 to 5 minutes, the first installation included.
# After an interruption, the same command resumes.
set -euo pipefail

root="$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
case "${1:-}" in
"") ;;
-h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
*)
    echo "error: unknown option $1; scripts/demo.sh has no options" >&2
    exit 2
    ;;
esac
demo=runs/demo
corpus=$demo/corpus

if [ ! -e "$corpus" ]; then
    scripts/prepare_corpus.sh --name sample --source de --target en --vocab-size 2000 --output "$corpus" \
        --train data/sample/train --valid data/sample/valid --test data/sample/test
fi
scripts/train.sh "$corpus" --save-dir "$demo/train"
scripts/evaluate.sh "$demo/train"
[ -e "$demo/scales.png" ] || scripts/report.sh "$demo/train" --output "$demo/scales.png"
[ -e "$demo/training_curve.png" ] ||
    scripts/lib/python.sh -m gradinit_mt.training.curve --run "sample=$demo/train" --output "$demo/training_curve.png"

echo
echo "plots:  $demo/scales.png  $demo/training_curve.png"
echo "scores: $demo/train/evaluation/"

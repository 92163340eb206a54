#!/usr/bin/env bash
# Trains on a SLURM cluster with the GPUs of one or several machines, and resumes after preemption or the time limit.
#
#   sbatch --nodes=2 --gpus-per-node=4 --time=4:00:00 scripts/slurm_train.sh DATA --save-dir DIR [train.sh options]
#
# Submit it from the project's root, with DATA and DIR on a file system that all machines share.
# Two minutes before the time limit training is told to end, and the job is queued again, unless the run was over by then.
# After a preemption it is queued again where the cluster allows that. It resumes from the last checkpoint: choose
# --save-interval-updates accordingly (after --).
# Expected: as scripts/train.sh. The log of machine 1 and further ones is DIR.node1/train.log, and so on.
#SBATCH --job-name=gradinit_mt
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
set -euo pipefail

case "${1:-}" in
-h | --help)
    sed -n '2,/^set /{/^set /d;/^#SBATCH/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac

: "${SLURM_JOB_ID:?start this script with sbatch}"
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs on one machine meet at different ports

# shellcheck disable=SC2016 # the index of the machine is known to the task alone
srun --kill-on-bad-exit=1 bash -c 'exec scripts/train.sh --node "$SLURM_NODEID" "$@"' bash \
    --nodes "$SLURM_JOB_NUM_NODES" --rendezvous "$first:$port" "$@" &
step=$!
again=""
# Not to srun, which kills the launchers when it receives SIGTERM. The step above is the job's first, at every start.
trap 'again=yes; scancel --signal=TERM "$SLURM_JOB_ID.0" || true' USR1
status=0
wait "$step" || status=$?
if [ -n "$again" ]; then
    status=0
    wait "$step" || status=$? # the signal ended the first wait
    # 128 and a signal: interrupted. Otherwise the run has just ended, failed, or been stopped by the watch.
    [ "$status" -le 128 ] || scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"

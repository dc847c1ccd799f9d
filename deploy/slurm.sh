#!/bin/bash
# Runs a sweep on a Ray cluster that spans the nodes of a SLURM allocation:
#
#     sbatch --nodes=4 --gpus-per-node=4 --time=1-0 deploy/slurm.sh sweeps/table6.yaml --storage /shared/runs
#
# Five minutes before the time limit SLURM sends USR1. Running trials then save their state, and the job goes back into
# the queue, until the sweep has ended or failed; `scancel` cancels it for good. A preemption sends USR1, too, where
# SLURM has PreemptParameters=send_user_signal. Elsewhere its SIGTERM also ends Ray, and trials go on from their last
# checkpoints. Set ORCHESTRATE_GRACE to less than a shorter notice.
#
#SBATCH --job-name=orchestrate --ntasks-per-node=1 --exclusive
#SBATCH --requeue --open-mode=append --signal=B:USR1@300
set -euo pipefail
source "${VENV:-.venv}/bin/activate"
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_ADDRESS=$head:6379 RAY_AUTH_MODE=token RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(openssl rand -hex 32)}
export ORCHESTRATE_GRACE=${ORCHESTRATE_GRACE:-4m}
# Nodes may come minutes apart; when the sweep has ended, those without it follow in 15 s instead of a minute.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=600 RAY_gcs_rpc_server_reconnect_timeout_s=15

clean() {
    trap - EXIT
    rm -rf "$private"
    [ -z "${made:-}" ] || srun rm -rf "$RAY_TMPDIR" || true
}
private=$(mktemp -d)
trap clean EXIT
# Ray's files on each node, gone with the job. Ray lets all users into its folder, so that lies in a private one. SLURM's
# TMPDIR may be too long for the paths of sockets. A requeued job may find what its earlier life left on a node.
if [ -z "${RAY_TMPDIR:-}" ]; then
    export RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}
    srun mkdir -m 700 "$RAY_TMPDIR" # fails where somebody was there first
    made=yes
fi

# SLURM runs this script on the first node, and so does Ray the sweep. Each node gives out the CPUs that SLURM has
# allotted there; by itself Ray would count all that the machine has.
# shellcheck disable=SC2016  # variables of the inner shells
export DRIVER=$private/pid SWEEP='echo $$ >"$DRIVER" && exec orchestrate sweep "$@"'
# shellcheck disable=SC2016
srun bash -c 'exec ray symmetric-run --address "$RAY_ADDRESS" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus="$SLURM_CPUS_ON_NODE" -- bash -c "$SWEEP" sweep "$@"' node "$@" &
step=$! stopping=
stop() { # the sweep alone: a signal for the whole step would end Ray before trials have saved their state
    trap '' USR1 TERM # a second one would stop the sweep at once
    stopping=yes
    kill -TERM "$(cat "$DRIVER" 2>/dev/null || echo "$step")" || true
}
trap stop USR1 TERM
code=0
wait "$step" || code=$?
if [ -n "$stopping" ]; then # the signal ended that wait
    code=0
    wait "$step" || code=$?
fi
clean
# A job that somebody has cancelled is COMPLETING by now.
if [ -n "$stopping" ] && [ "$code" -ne 0 ] && [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"

#!/bin/bash
# A Ray cluster on the nodes of a SLURM allocation, and a sweep on it; given again, it goes on:
#
#     sbatch --nodes=4 --gpus-per-node=4 --time=1-0 deploy/slurm.sh sweeps/table6.yaml --storage /shared/runs
#
#SBATCH --job-name=orchestrate --ntasks-per-node=1 --exclusive
set -euo pipefail
source "${VENV:-.venv}/bin/activate"
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_ADDRESS=$head:6379 RAY_AUTH_MODE=token RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(openssl rand -hex 32)}
# Ray's files on each node, gone with the job. Ray lets all users into its folder, so that lies in a private one. SLURM's
# TMPDIR may be too long for the paths of sockets.
if [ -z "${RAY_TMPDIR:-}" ]; then
    export RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID
    srun mkdir -m 700 "$RAY_TMPDIR" # fails where somebody was there first
    trap 'srun rm -rf "$RAY_TMPDIR" || true' EXIT
fi
# Nodes may come minutes apart; when the sweep has ended, those without it follow in 15 s instead of a minute.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=600 RAY_gcs_rpc_server_reconnect_timeout_s=15
# Each node gives out the CPUs that SLURM has allotted there; by itself Ray would count all that the machine has.
# shellcheck disable=SC2016  # each node's own variable
srun bash -c 'exec ray symmetric-run --address "$RAY_ADDRESS" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus="$SLURM_CPUS_ON_NODE" -- orchestrate sweep "$@"' orchestrate "$@"

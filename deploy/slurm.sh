#!/usr/bin/env bash
# A job of one driver and 31 nodes on 4 machines: sbatch deploy/slurm.sh ./app
#
# The directory of the job must be on a file system that all machines share, with ca.pem, node.pem and node.key in it: see docs/cluster.md.
#SBATCH --job-name=tutti
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --time=01:00:00
set -euo pipefail

umask 077
secret=".tutti-$SLURM_JOB_ID.secret"
openssl rand -hex 32 >"$secret"
trap 'rm -f "$secret"' EXIT

export TUTTI_SECRET_FILE="$PWD/$secret"
export TUTTI_TLS_CA="$PWD/ca.pem" TUTTI_TLS_CERT="$PWD/node.pem" TUTTI_TLS_KEY="$PWD/node.key"
srun --kill-on-bad-exit=1 "$@"

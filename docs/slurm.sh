#!/bin/bash
# Workers of one sweep as a SLURM array job: sbatch docs/slurm.sh my-sweep
# The supervisor runs elsewhere: rnnlab sweep my-sweep.yaml --workers 0
#SBATCH --job-name=rnnlab
#SBATCH --array=1-64
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120   # two minutes before the limit: the worker saves its checkpoint and hands its trial back
#SBATCH --requeue

# RNNLAB_STORAGE and MLFLOW_TRACKING_URI come from the environment of sbatch; the password is better kept in ~/.pgpass.
: "${RNNLAB_STORAGE:?name the PostgreSQL database}" "${MLFLOW_TRACKING_URI:?name the MLflow server}"
export OMP_NUM_THREADS=1
exec srun rnnlab worker "$1"

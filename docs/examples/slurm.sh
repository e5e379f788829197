#!/bin/bash
# A job that is longer than its time limit: two minutes before the end it saves everything, and is put into the queue
# again. Submit it from the folder of train.py, with the arguments of fit:
#
#   sbatch docs/examples/slurm.sh --config configs/resnet_tiny_imagenet.yaml
#
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --gpus-per-node=2
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

srun uv run python train.py fit --ckpt_path=auto --trainer.strategy=ddp \
    --trainer.num_nodes="$SLURM_NNODES" --trainer.devices="$SLURM_NTASKS_PER_NODE" "$@"
code=$?
if [ "$code" = 138 ]; then # "start me again"; any other code but 0 is an error, which a new start would not mend
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"

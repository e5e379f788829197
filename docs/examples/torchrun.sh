#!/bin/sh
# Train on several nodes, and go on by itself where a process or a node is lost. Run it on each node at about the same
# time, from the folder of train.py, with the arguments of fit:
#
#   HEAD=node0:29400 docs/examples/torchrun.sh --config configs/resnet_tiny_imagenet.yaml
#
# All nodes must see the folder of the runs (--trainer.logger.save_dir).

NODES=2      # on which this is run
PROCESSES=2  # on each of them: its GPUs

# Without it, processes that are started again may read from the store of torchrun where the lost ones listened.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

exec uv run torchrun --nnodes="$NODES" --nproc-per-node="$PROCESSES" --max-restarts=3 \
    --rdzv-backend=c10d --rdzv-endpoint="${HEAD:-localhost:29400}" --rdzv-id=sextant \
    train.py fit --ckpt_path=auto \
    --trainer.strategy=ddp --trainer.num_nodes="$NODES" --trainer.devices="$PROCESSES" "$@"

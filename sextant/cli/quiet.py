"""What the libraries say by themselves that nobody who trains a model has to know."""

import logging
import re
import warnings

#: Messages of Lightning, as patterns.
MESSAGES = (
    "Trainer already configured with model summary callbacks",
    "Seed set to",  # it is in the configuration
    "[GTHI]PU available: ",  # the report of a run names the device
    "litlogger",
    "Loading `train_dataloader` to estimate number of stepping batches",
    r"`Trainer\(\w+=.*\)` was configured so ",  # as the command or the configuration says
    "`Trainer.fit` stopped: `max_(epochs|steps)=",  # the report of a run says how far it came
    "Restoring states from the checkpoint path at|(Loaded model weights|Restored all states) from the checkpoint",
    "Sharding spec not found for ",  # of a table that each process has a copy of
    "Found current_model_state in the checkpoint",  # which averaged weights always have
    "Initializing distributed: GLOBAL_RANK|distributed_backend=",
)
#: The same of warnings.
WARNINGS = (
    ".*LeafSpec.*",  # Lightning's own use of torch
    ".*CUDA is not available.*[Dd]isabling.*",  # configurations ask for bf16 on a GPU only
    ".*Precision .* is not supported by the model summary",  # which is asked for no megabytes
    "The number of training batches .* is smaller than the logging interval",  # the last one of an epoch is shown
    ".*your dataloader is not resumable.*",  # the order of samples and the position in it are the DataModule's
    ".*does not have many workers",  # how long training waits for data is measured
    "Checkpoint directory .* exists and is not empty",  # as that of a run that goes on
    ".*sync_dist=True.*",  # epoch metrics are torchmetrics', which reduce over the processes themselves
    ".*`broadcast_buffers` is deprecated",
    ".*(reduce_scatter_tensor|all_gather_into_tensor).*",  # TorchRec's own use of torch
    ".*an autograd kernel was not registered.*",
)


def quiet_libraries() -> None:
    """Leave out what Lightning, torch and TorchRec say by themselves that is no matter of the user."""
    for pattern in WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
    # What the first one writes, where another library has set up logging before, begins with INFO.
    for library in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(library).handlers:
            handler.addFilter(_matters)
            handler.setFormatter(logging.Formatter("%(message)s"))
    # Lightning tells at each checkpoint what it would do with weights_only; AtomicCheckpointIO decides that.
    logging.getLogger("lightning.pytorch.trainer.connectors.checkpoint_connector").setLevel(logging.WARNING)
    # TorchRec's and torchao's use of torch, and what TorchRec says of tables that each process has a copy of.
    for name in ("torch.fx._symbolic_trace", "torch.utils._pytree", "torchrec.distributed.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger().addFilter(_matters)


def _matters(record: logging.LogRecord) -> bool:
    return not re.search("|".join(MESSAGES), record.getMessage())

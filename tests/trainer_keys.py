"""Settings of Lightning's Trainer, and what each is to do on top of the shared configuration."""

AVERAGE = "--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging"

#: Arguments with which every workload trains.
WORK = (
    "--trainer.overfit_batches=2",
    "--trainer.overfit_batches=0.1",
    "--trainer.precision=bf16-mixed",
    "--trainer.precision=32-true",
    "--trainer.enable_checkpointing=false",
    "--trainer.logger=false",
    "--trainer.fast_dev_run=true",
    "--trainer.sync_batchnorm=true",
    "--trainer.log_every_n_steps=0",
    "--trainer.gradient_clip_val=1",
    "--trainer.callbacks=null",
    "--trainer.plugins=null",
    "--trainer.reload_dataloaders_every_n_epochs=1",
    "--trainer.profiler=simple",
)
#: Those of them that go together, and are given to one run where each alone takes long.
TOGETHER = (
    "--trainer.precision=32-true",
    "--trainer.sync_batchnorm=true",
    "--trainer.log_every_n_steps=0",
    "--trainer.gradient_clip_val=1",
    "--trainer.reload_dataloaders_every_n_epochs=1",
    "--trainer.profiler=simple",
)
#: Arguments with which a workload trains, or one error says why not.
WORK_OR_NOT = (
    AVERAGE,
    "--trainer.barebones=true",
    "--trainer.limit_val_batches=0",
    "--trainer.precision=16-true",
    "--trainer.precision=64-true",
    "--trainer.deterministic=true",
)
#: Arguments that are refused, and by what.
REFUSED = {
    "--trainer.limit_train_batches=0": "limit_train_batches is 0: nothing would be trained",
    "--trainer.precision=transformer-engine": "cannot be used: .*transformer_engine",
    "--trainer.profiler=xla": "profiler is xla, which is for TPUs",
    "--trainer.gradient_clip_algorithm=nonsense": "gradient_clip_algorithm. nonsense is invalid",
    "--trainer.val_check_interval=100000": "val_check_interval.*less than or equal to the number of",
    "--trainer.strategy=nonsense": "strategy is nonsense, and there is no such one",
    "--trainer.devices=0": "devices='0'.* is not a valid input",
    "--trainer.devices=999": "devices is 999: as many processes on .* cores would stall the machine",
    "--trainer.accelerator=tpu": "cannot be used: .*torch_xla",
}

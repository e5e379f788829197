"""Lightning's Trainer with more commands."""

from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from sextant.cli.plan import plan
from sextant.cli.trainer_settings import settle
from sextant.datamodule import BaseDataModule
from sextant.files.location import local_path
from sextant.lightning_internals import leave_signals_alone, load_given_checkpoints_only


class SextantTrainer(Trainer):
    """A Trainer that also plans embedding tables, and writes models to files for phones, browsers and servers.

    Its run has a folder of its own, whatever logs it: :class:`~sextant.logs.run_folder.RunFolder`.
    """

    run_folder: Path | None = None

    @override
    def __init__(self, *args: Any, **options: Any) -> None:
        settle(options)
        super().__init__(*args, **options)
        leave_signals_alone(self)
        load_given_checkpoints_only(self)

    @property
    @override
    def log_dir(self) -> str | None:
        """The folder of the run; None until it has one. Unlike Lightning's it may be asked for by one process alone."""
        return None if self.run_folder is None else str(self.run_folder)

    plan = plan

    def export(
        self,
        model: LightningModule,
        datamodule: BaseDataModule,
        format: Literal["torchscript", "torch_export", "onnx", "executorch"],
        output: str,
        ckpt_path: str | None = None,
        random_weights: bool = False,
        size: tuple[PositiveInt, PositiveInt] | None = None,
        preprocessing: Literal["none", "normalize", "resize"] = "none",
        argmax: bool = False,
        int8: bool = False,
        int8_agreement: ClosedUnitInterval = 0.95,
        calibration_samples: PositiveInt | None = None,
        samples: PositiveInt = 64,
        overwrite: bool = False,
    ) -> None:
        """Write a trained model to a file that runs without this project.

        The file is loaded again and run on samples of the validation data beside the model; it is kept only if both
        decide alike. What was measured is printed, and written with a description of inputs and outputs to
        ``<output>.json``. This runs on the processor, in one process.

        Args:
            model: what is exported.
            datamodule: gives samples to run and to calibrate on.
            format: ``torchscript`` (.pt, deprecated), ``torch_export`` (.pt2), ``onnx`` (.onnx), or ``executorch``
                (.pte, with XNNPACK, for phones).
            output: path of the file.
            ckpt_path: checkpoint with the weights: a path, or ``best`` or ``last`` of the newest run.
            random_weights: export without a checkpoint, to try things out.
            size: height and width in pixels of the one image that the file takes. Without it, the number and the size
                of images are free; for executorch, which plans its memory ahead, the model's usual size is taken.
            preprocessing: what the file does to images itself. ``none``: it takes normalized floats (B, 3, H, W).
                ``normalize``: it takes red, green, blue bytes (B, H, W, 3). ``resize``: it takes such bytes of one
                image of any size, and stretches it to ``size``.
            argmax: whether a file of an image model gives class ids instead of scores.
            int8: quantize weights and activations statically to 8 bits, for executorch, and for torch_export, whose
                file is smaller then but slower until something compiles it. The validation metric of both models is
                measured on the validation data (--trainer.limit_val_batches for less of it).
            int8_agreement: the fraction of decisions in which a quantized file and the model must agree; it is 0.999
                without int8.
            calibration_samples: training samples that a quantized model is calibrated on: 128, unless you say so.
            samples: validation samples that the file is run on.
            overwrite: replace a file that is there.

        Raises:
            InputError: a setting is wrong, a library is missing, the format cannot hold the model, or the file does not
                decide as the model does. No file is left then.
        """
        from sextant.export.exporter import Exporter, ExportSettings  # which takes a while to import

        settings = ExportSettings(
            format=format,
            output=local_path(output, "--output"),
            checkpoint=ckpt_path,
            random_weights=random_weights,
            size=size,
            preprocessing=preprocessing,
            argmax=argmax,
            int8=int8,
            int8_agreement=int8_agreement,
            calibration_samples=calibration_samples,
            samples=samples,
            overwrite=overwrite,
        )
        Exporter(self, model, datamodule, settings).run()

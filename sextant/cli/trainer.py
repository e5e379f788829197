"""Lightning's Trainer with more commands."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from sextant.cli.plan import plan
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.export.formats.format import Format, Runner
    from sextant.export.graph import ExportGraph

AGREEMENT = 0.999  # of decisions: rounding alone does not lead below


class SextantTrainer(Trainer):
    """A Trainer that also plans embedding tables, and writes models to files for phones, browsers and servers."""

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
            argmax: whether a file of an image model gives numbers of classes instead of scores.
            int8: quantize weights and activations statically to 8 bits, for executorch, and for torch_export, whose
                file is smaller then but slower until something compiles it. The validation metric of both models is
                measured on the validation data (--trainer.limit_val_batches for less of it).
            int8_agreement: the share of decisions in which a quantized file and the model must agree; without int8 it
                is 0.999.
            calibration_samples: training samples that a quantized model is calibrated on: 128, unless you say so.
            samples: validation samples that the file is run on.
            overwrite: replace a file that is there.

        Raises:
            InputError: a setting is wrong, a library is missing, the format cannot hold the model, or the file does not
                decide as the model does. No file is left then.
        """
        from sextant.export.comparison import compare, require_agreement
        from sextant.export.description import describe, summary, versions
        from sextant.export.exported_file import ExportedFile
        from sextant.export.formats import FORMATS
        from sextant.export.quantization import LIBRARIES, calibration_inputs, quantize
        from sextant.export.real_inputs import real_inputs
        from sextant.export.writing import need_libraries, need_weights, write_and_load

        kind = FORMATS[format]
        file = ExportedFile(Path(output), kind.suffix, overwrite)
        if int8 and not kind.quantizable:
            raise InputError(f"--int8 is for torch_export and executorch; {format} files hold floats only.")
        if int8 and not self.limit_val_batches:
            raise InputError("--int8 is measured on validation data: --trainer.limit_val_batches must be above 0.")
        if calibration_samples is not None and not int8:
            raise InputError("--calibration_samples is for --int8=true; nothing is calibrated without it.")
        if kind.planned and preprocessing == "resize":
            raise InputError(
                f"{format} plans its memory ahead and takes images of one size: use --preprocessing=normalize, and "
                "stretch images before."
            )
        libraries = (*kind.libraries, *(LIBRARIES if int8 else ()))
        need_libraries(*libraries)
        need_weights(model, ckpt_path, random_weights)

        self.callbacks: list[Any] = [callback for callback in self.callbacks if isinstance(callback, ProgressBar)]
        bars = bool(self.callbacks)
        self._set_up(model, datamodule, ckpt_path)
        graph = self._graph(model, datamodule, kind, size, preprocessing, argmax)
        if int8 and graph.image_size is None:
            raise InputError(f"--int8 is for models that read an image alone; {type(model).__name__} does not.")
        inputs = real_inputs(graph, _ready(datamodule, datamodule.val_dataloader()), samples)
        exported = graph
        if int8:
            datamodule.setup("fit")
            training = _ready(datamodule, datamodule.calibration_dataloader())
            exported = quantize(graph, calibration_inputs(graph, training, calibration_samples), bars)

        with file.unfinished() as part:
            run = write_and_load(kind, format, exported, part)
            comparison = compare(graph, run, inputs, bars)
            metrics = self._measure(model, datamodule, graph, run) if int8 else {}
            rank_zero_info(summary(comparison, metrics, part.stat().st_size))
            if int8:
                advice = "Calibrate on more data with --calibration_samples, or lower --int8_agreement."
                require_agreement(comparison, int8_agreement, advice)
            else:
                require_agreement(comparison, AGREEMENT)
            origin = {
                "format": format,
                "model": f"{type(model).__module__}.{type(model).__qualname__}",
                "checkpoint": ckpt_path,
                "random_weights": random_weights,
                "synthetic_data": datamodule.synthetic,
                "int8": int8,
                "versions": versions(libraries),
            }
            known = describe(graph, run(inputs[0])) | datamodule.input_description()
            file.keep(part, origin | known | {"measured": asdict(comparison) | metrics})
        rank_zero_info(f"Exported to {file.path}, described in {file.description}.")

    def _set_up(self, model: LightningModule, datamodule: BaseDataModule, ckpt_path: str | None) -> None:
        """Load data and weights as a validation does, without validating."""
        limit, self.limit_val_batches = self.limit_val_batches, 0
        self.validate(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False)
        self.limit_val_batches = limit

    @staticmethod
    def _graph(
        model: LightningModule,
        datamodule: BaseDataModule,
        kind: "Format",
        size: tuple[int, int] | None,
        preprocessing: Literal["none", "normalize", "resize"],
        argmax: bool,
    ) -> "ExportGraph":
        """What the file shall hold."""
        from sextant.export.graph import with_planned_memory
        from sextant.export.images import with_images

        graph: ExportGraph = model.export_graph()  # type: ignore[operator]
        graph.network.eval().requires_grad_(False)
        if graph.image_size is not None:
            assert datamodule.normalization is not None
            fixed = size or (graph.image_size if kind.planned else None)
            graph = with_images(graph, fixed, preprocessing, argmax, datamodule.normalization)
        elif size or preprocessing != "none" or argmax:
            raise InputError(
                "--size, --preprocessing and --argmax are for models that read an image alone; "
                f"{type(model).__name__} does not."
            )
        return with_planned_memory(graph) if kind.planned else graph

    def _measure(
        self, model: LightningModule, datamodule: BaseDataModule, graph: "ExportGraph", run: "Runner"
    ) -> dict[str, float]:
        """What the validation data says of the model and of the exported file, both on the file's inputs."""
        from sextant.export.comparison import eager
        from sextant.export.stand_in import stand_in

        measured = {}
        for name, runner in (("float", lambda inputs: eager(graph, inputs)), ("int8", run)):
            model.forward = stand_in(graph, runner)  # type: ignore[method-assign]
            try:
                (values,) = self.validate(model, datamodule=datamodule, verbose=False)
            finally:
                del model.forward
            measured[f"{graph.metric}_{name}"] = values[graph.metric]
        return measured


def _ready(datamodule: BaseDataModule, batches: Any) -> Iterator[dict[str, Any]]:
    """Batches as they come to a model that is not trained."""
    return (datamodule.transform(batch, training=False) for batch in batches)

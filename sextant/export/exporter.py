"""An export from beginning to end: what is checked, written, compared with the model, and kept."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from sextant.contracts import need_weights
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.export.comparison import Comparison, compare, eager, require_agreement
from sextant.export.description import describe, summary, versions
from sextant.export.exported_file import ExportedFile
from sextant.export.formats import FORMATS
from sextant.export.formats.format import Format, Runner
from sextant.export.graph import Exportable, ExportGraph, with_planned_memory
from sextant.export.images import with_images
from sextant.export.quantization import LIBRARIES, calibration_inputs, quantize
from sextant.export.real_inputs import real_inputs
from sextant.export.stand_in import stand_in
from sextant.export.writing import need_libraries, write_and_load
from sextant.lightning_internals import callbacks_of

AGREEMENT = 0.999  # of decisions: rounding alone does not lead below


@dataclass(frozen=True)
class ExportSettings:
    """What to export, and how; the options of ``train.py export``.

    Args:
        format: name of the file's format.
        output: the file.
        checkpoint: with the weights.
        random_weights: export without a checkpoint.
        size: height and width in pixels of the one image that the file takes.
        preprocessing: what the file does to images itself.
        argmax: give class ids instead of scores.
        int8: quantize to 8 bits.
        int8_agreement: fraction of decisions in which a quantized file and the model must agree.
        calibration_samples: training samples that a quantized model is calibrated on.
        samples: validation samples that the file is run on.
        overwrite: replace a file that is there.

    Raises:
        InputError: settings contradict each other.
    """

    format: Literal["torchscript", "torch_export", "onnx", "executorch"]
    output: Path
    checkpoint: str | None = None
    random_weights: bool = False
    size: tuple[int, int] | None = None
    preprocessing: Literal["none", "normalize", "resize"] = "none"
    argmax: bool = False
    int8: bool = False
    int8_agreement: float = 0.95
    calibration_samples: int | None = None
    samples: int = 64
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.int8 and not self.kind.quantizable:
            raise InputError(f"--int8 is for torch_export and executorch; {self.format} files hold floats only.")
        if self.calibration_samples is not None and not self.int8:
            raise InputError("--calibration_samples is for --int8=true; nothing is calibrated without it.")
        if self.kind.planned and self.preprocessing == "resize":
            raise InputError(
                f"{self.format} plans its memory ahead and takes images of one size: use --preprocessing=normalize, "
                "and stretch images before."
            )

    @property
    def kind(self) -> Format:
        """The file's format."""
        return FORMATS[self.format]

    @property
    def libraries(self) -> tuple[str, ...]:
        """What has to be installed beside torch."""
        return (*self.kind.libraries, *(LIBRARIES if self.int8 else ()))


class Exporter:
    """The export of a model, on the processor and in one process.

    Args:
        trainer: measures on validation data, and shows progress if it has a progress bar.
        model: what is exported.
        datamodule: gives samples to run and to calibrate on.
        settings: what to export, and how.

    Raises:
        InputError: the file cannot be written, a library or weights are missing, or the model cannot be exported.
    """

    def __init__(
        self, trainer: Trainer, model: LightningModule, datamodule: BaseDataModule, settings: ExportSettings
    ) -> None:
        self.trainer = trainer
        self.model = model
        self.datamodule = datamodule
        self.settings = settings
        self.file = ExportedFile(settings.output, settings.kind.suffix, settings.overwrite)
        if settings.int8 and not trainer.limit_val_batches:
            raise InputError("--int8 is measured on validation data: --trainer.limit_val_batches must be above 0.")
        need_libraries(*settings.libraries)
        need_weights(model, settings.checkpoint, settings.random_weights)

    def run(self) -> None:
        """Write the file, and keep it if it decides as the model does.

        Raises:
            InputError: the format cannot hold the model, or the file does not decide as the model does. No file is left
                then.
        """
        callbacks_of(self.trainer)[:] = [c for c in callbacks_of(self.trainer) if isinstance(c, ProgressBar)]
        bars = bool(callbacks_of(self.trainer))
        self._set_up()
        graph = self._graph()
        inputs = real_inputs(graph, self._ready(self.datamodule.val_dataloader()), self.settings.samples)
        exported = self._quantized(graph, bars) if self.settings.int8 else graph
        with self.file.unfinished() as part:
            run = write_and_load(self.settings.kind, self.settings.format, exported, part)
            comparison = compare(graph, run, inputs, bars)
            metrics = self._metrics(graph, run) if self.settings.int8 else {}
            rank_zero_info(summary(comparison, metrics, part.stat().st_size))
            self._require_agreement(comparison)
            known = describe(graph, run(inputs[0])) | self.datamodule.input_description()
            self.file.keep(part, self._origin() | known | {"measured": asdict(comparison) | metrics})
        rank_zero_info(f"Exported to {self.file.path}, described in {self.file.description}.")

    def _set_up(self) -> None:
        """Load data and weights as a validation does, without validating."""
        trainer = self.trainer
        limit, trainer.limit_val_batches = trainer.limit_val_batches, 0
        trainer.validate(self.model, datamodule=self.datamodule, ckpt_path=self.settings.checkpoint, verbose=False)
        trainer.limit_val_batches = limit

    def _graph(self) -> ExportGraph:
        """What the file shall hold, before it is quantized."""
        settings, name = self.settings, type(self.model).__name__
        if not isinstance(self.model, Exportable):
            raise InputError(f"{name} cannot be exported: it has no export_graph that says what goes into the file.")
        graph = self.model.export_graph()
        graph.network.eval().requires_grad_(False)
        if graph.image_size is not None:
            normalization = self.datamodule.normalization
            assert normalization is not None
            fixed = settings.size or (graph.image_size if settings.kind.planned else None)
            graph = with_images(graph, fixed, settings.preprocessing, settings.argmax, normalization)
        elif settings.size or settings.preprocessing != "none" or settings.argmax:
            raise InputError(
                f"--size, --preprocessing and --argmax are for models that read an image alone; {name} does not."
            )
        elif settings.int8:
            raise InputError(f"--int8 is for models that read an image alone; {name} does not.")
        return with_planned_memory(graph) if settings.kind.planned else graph

    def _ready(self, batches: Any) -> Iterator[dict[str, Any]]:
        """Batches as they come to a model that is not trained."""
        return (self.datamodule.transform(batch, training=False) for batch in batches)

    def _quantized(self, graph: ExportGraph, bars: bool) -> ExportGraph:
        self.datamodule.setup("fit")
        training = self._ready(self.datamodule.calibration_dataloader())
        return quantize(graph, calibration_inputs(graph, training, self.settings.calibration_samples), bars)

    def _metrics(self, graph: ExportGraph, run: Runner) -> dict[str, float]:
        """The validation metric of the model and of the exported file, both on the file's inputs."""
        measured = {}
        for name, runner in (("float", lambda inputs: eager(graph, inputs)), ("int8", run)):
            self.model.forward = stand_in(graph, runner)  # type: ignore[method-assign]
            try:
                (values,) = self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
            finally:
                del self.model.forward
            measured[f"{graph.metric}_{name}"] = values[graph.metric]
        return measured

    def _require_agreement(self, comparison: Comparison) -> None:
        if self.settings.int8:
            advice = "Calibrate on more data with --calibration_samples, or lower --int8_agreement."
            require_agreement(comparison, self.settings.int8_agreement, advice)
        else:
            require_agreement(comparison, AGREEMENT)

    def _origin(self) -> dict[str, Any]:
        return {
            "format": self.settings.format,
            "model": f"{type(self.model).__module__}.{type(self.model).__qualname__}",
            "checkpoint": self.settings.checkpoint,
            "random_weights": self.settings.random_weights,
            "synthetic_data": self.datamodule.synthetic,
            "int8": self.settings.int8,
            "versions": versions(self.settings.libraries),
        }

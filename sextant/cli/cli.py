"""The command line: Lightning's, with the shared Trainer loaded first and strict rules for checkpoints."""

import sys
import warnings
from argparse import SUPPRESS
from collections.abc import Callable, Mapping
from inspect import cleandoc, signature
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from typing_extensions import override

from sextant.cli.checkpoint_search import find_checkpoint
from sextant.cli.consolidate import consolidate
from sextant.cli.monitored import MonitoredMetrics
from sextant.cli.parsing.config_files import check_files
from sextant.cli.parsing.config_schema import PrintSchema
from sextant.cli.parsing.parser import OneErrorParser, refuse_other_encodings
from sextant.cli.places import check_places, settle_urls
from sextant.cli.predictions.writer import PredictionWriter
from sextant.cli.quiet import quiet_libraries
from sextant.cli.refusals import settings_refused
from sextant.cli.runs import (
    keep_mlflow_store_apart,
    kept_runs_folder,
    require_libraries,
    require_writable,
    run_name,
    runs_folder,
)
from sextant.cli.trainer import SextantTrainer
from sextant.cli.within_memory import WithinMemory
from sextant.contracts import need_weights
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.files.location import Location
from sextant.lightning_internals import callbacks_of
from sextant.logs.position import KEY as LOG
from sextant.logs.run_folder import RunFolder
from sextant.logs.run_record import EvaluationRecord, RunRecord
from sextant.resume.agreement import (
    check_agreement,
    check_classes,
    check_model_class,
    check_options,
    check_partial_epoch,
    configuration_of,
    report_taken,
    with_other_data,
)
from sextant.resume.no_imports import no_imports
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint
from sextant.resume.run_configuration import RunConfiguration
from sextant.resume.settings import (
    differences,
    free_settings,
    learning_settings,
    model_settings,
    settings_to_take,
    settings_with_meaning,
)
from sextant.resume.shared_failure import SharedFailure
from sextant.strategies import import_strategies

#: Commands that say something with a trained model.
EVALUATIONS = ("validate", "test", "predict")


class SextantCLI(LightningCLI):
    """A command: parsed, checked against the checkpoint that it uses, and run.

    Args:
        shared_config: a configuration of the Trainer that every command loads first.
        args: the command's arguments; those of this process if None.
        callback_groups: callbacks with a group of settings of their own, by its name. A callback is used where one of
            its settings is given, in a configuration or as ``--<name>.<setting>``; ``<name>: {}`` takes its defaults.
    """

    parser: OneErrorParser

    def __init__(
        self,
        shared_config: Path,
        args: list[str] | None = None,
        callback_groups: Mapping[str, type[Callback]] | None = None,
    ) -> None:
        self.callback_groups = callback_groups or {}
        self._failure = SharedFailure()
        self._continued: dict[str, Any] = {}
        arguments = sys.argv[1:] if args is None else args
        refuse_other_encodings(arguments)
        self._arguments = arguments
        self._named = set(arguments) & set(self.subcommands()) or set(self.subcommands())
        shared = {"shared_config": shared_config, "arguments": arguments}
        first = shared | {"default_config_files": [str(shared_config)]}
        quiet_libraries()
        super().__init__(
            model_class=LightningModule,
            subclass_mode_model=True,
            datamodule_class=BaseDataModule,
            trainer_class=SextantTrainer,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=None,  # RunConfiguration does it
            parser_class=OneErrorParser,
            parser_kwargs={"allow_abbrev": False, **shared, **{command: dict(first) for command in self.subcommands()}},
            args=args,
        )

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        check_files(self._arguments)  # the parser does not say which file is wrong, nor where
        import_strategies(self._arguments)
        try:
            super().parse_arguments(parser, args)
        except RecursionError as error:
            raise InputError("A configuration is nested too deep to be read.") from error

    @staticmethod
    @override
    def subcommands() -> dict[str, set[str]]:
        # Checkpoints are always loaded with weights_only=True, so it is no choice.
        # Predictions are in a file, and those of many samples would not fit into memory.
        decided = {"weights_only", "return_predictions"}
        commands = {command: skip | decided for command, skip in LightningCLI.subcommands().items()}
        return commands | {command: {"model", "datamodule"} for command in ("export", "plan")}

    @override
    def setup_parser(self, *args: Any, **options: Any) -> None:
        super().setup_parser(*args, **options)
        about, _, more = cleandoc(consolidate.__doc__ or "").partition("\n\nArgs:")[0].partition("\n\n")
        parser = OneErrorParser(description=f"{about} {more}", allow_abbrev=False)
        parser.add_function_arguments(consolidate, as_group=False, as_positional=True)
        parser.add_argument("--seed_everything", default=False, help=SUPPRESS)  # Lightning asks each command for it
        assert isinstance(self.parser, OneErrorParser)
        self.parser.commands.add_subcommand("consolidate", parser, help=about)

    @override
    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **options: Any) -> LightningArgumentParser:
        # The settings of a command take long to add, and only those of the one that is named are asked for.
        if subcommand not in self._named:
            return OneErrorParser(description=options["description"])
        parser = super()._prepare_subcommand_parser(klass, subcommand, **options)
        if subcommand in EVALUATIONS:
            parser.add_argument(
                "--random_weights",
                type=bool,
                default=False,
                help="Run without trained weights, to try things out. Without it, --ckpt_path is required.",
            )
        return parser

    @override
    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--seed_everything", type=NonNegativeInt, default=0, help="Seed of all that is random in the run."
        )

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--name",
            type=str,
            default="unnamed",
            help="Of the workload: its runs are in logs/<name>, or those on generated data in logs/<name>-synthetic.",
        )
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)
        parser.add_lightning_class_args(ModelCheckpoint, "best_checkpoint")
        parser.add_lightning_class_args(RecoveryCheckpoint, "recovery_checkpoint")
        parser.add_lightning_class_args(PredictionWriter, "predictions")
        parser.add_argument(
            "--stop_after",
            type=str | None,
            default=None,
            help="End this command after so long, such as 3h50m, as SIGUSR1 does: all is saved, and the exit code is "
            "138. For jobs with a time limit; start it again with --ckpt_path=auto.",
        )
        parser.link_arguments("stop_after", "recovery_checkpoint.stop_after")
        parser.add_argument("--print_schema", action=PrintSchema)
        for name, group in self.callback_groups.items():
            about, settings = cleandoc(group.__doc__ or "").split("\n")[0], signature(group).parameters
            names = ", ".join(f"--{name}.{setting}" for setting in settings)
            parser.add_argument(f"--{name}", type=group | None, default=None, help=f"{about[:-1]} (settings: {names}).")
        parser.add_argument(
            "--settings_from",
            type=Literal["checkpoint", "command"] | None,
            default=None,
            help="Whose settings hold where those of the checkpoint in --ckpt_path differ from this command's. Without "
            "it, a difference is an error in fit; elsewhere those of the model are the checkpoint's, and an argument "
            "that contradicts them is an error. Nothing that only a checkpoint names is imported.",
        )

    @override
    def _parse_ckpt_path(self) -> None:
        # Lightning's own lets the checkpoint's hyper-parameters silently replace those of the command.
        command = self.config.subcommand
        config = self.config[command]
        if command != "consolidate":  # which has no Trainer
            settle_urls(config)
        if not config.get("ckpt_path"):
            return
        if config.ckpt_path == "auto" and command != "fit":
            raise InputError(
                "--ckpt_path=auto is for fit, to go on with a run or to begin one. Give best, last or a path."
            )
        is_meant = self._learned_by() if config.ckpt_path == "auto" else None
        found = find_checkpoint(config.ckpt_path, kept_runs_folder(config), is_meant)
        if found is None:
            config.ckpt_path = None
            return
        path, checkpoint = found
        config.ckpt_path = str(path)
        self._agree(path, checkpoint)
        self._go_on_in_folder(path, checkpoint)

    def _learned_by(self) -> Callable[[Location], bool]:
        """What says whether the run in a folder learned what this command would learn."""
        new = self._plain_config()
        free = free_settings(new)
        wanted = learning_settings(new, free)

        def is_same(run: Location) -> bool:
            try:
                old = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
                return not list(differences(learning_settings(old, free), wanted))
            except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):  # of something else
                return False

        return is_same

    def _agree(self, path: Location, checkpoint: dict[str, Any]) -> None:
        """Compare the command with the checkpoint's configuration, and settle which of the two holds."""
        fits = self.config.subcommand == "fit"
        # What a checkpoint answers is decided by the model, and by a few settings of its data, whose class may be gone.
        old = configuration_of(path, checkpoint, ("model", "data") if fits else ("model",))
        new = self._plain_config()
        free, meaning = free_settings(new), settings_with_meaning(new)

        def part(whole: dict[str, Any]) -> dict[str, Any]:
            return learning_settings(whole, free) if fits else model_settings(whole, free, meaning)

        old_part, new_part = part(old), part(new)
        settings_from = self.config[self.config.subcommand].settings_from
        if settings_from == "command":
            if fits:
                check_partial_epoch(path, checkpoint, old_part, new_part)
            return
        check_model_class(path, old["model"]["class_path"], new["model"]["class_path"])
        if settings_from is None and fits:
            check_agreement(path, old_part, new_part)
            return
        if settings_from is None:
            check_options(path, old_part, new_part, self._arguments)
            report_taken(path, old_part, new_part)
        check_classes(path, old_part, new_part)
        try:
            self._take(path, settings_to_take(old_part, new))
        except InputError as error:
            raise with_other_data(path, old, new, error) from error
        check_classes(path, part(self._plain_config()), new_part)  # what was a text may have been parsed

    def _take(self, path: Location, settings: dict[str, Any]) -> None:
        """Let a checkpoint's settings hold, which may name code to run."""
        if "data" in settings:
            settings["data"].setdefault("class_path", self.config[self.config.subcommand].data.class_path)
            settings["data"]["init_args"].pop("seed", None)  # follows seed_everything
        with no_imports():
            config = self.parser.parse_object({self.config.subcommand: settings}, self.config)
        known = [value for _, value in self.config.items()]
        for key, value in config.items():
            if callable(value) and value not in known:
                raise InputError(f"{path}: --settings_from=checkpoint takes no function from it. Give {key} yourself.")
        self.config = config

    def _go_on_in_folder(self, path: Location, checkpoint: dict[str, Any]) -> None:
        """Log into the folder of the run that the checkpoint belongs to, in place of what it logged after it."""
        command = self.config.subcommand
        config = self.config[command]
        run = path.resolve().parent.parent
        if command in ("fit", *EVALUATIONS) and run.parent == kept_runs_folder(config).resolve():
            self._continued = {
                "continued": runs_folder(config) / run.name,
                "position": checkpoint.get(LOG),
                "step": checkpoint["global_step"] + 1,
            }

    def _plain_config(self) -> dict[str, Any]:
        dump = self.parser.dump(
            self.config, format="yaml", skip_unset=False, skip_validation=True, skip_link_targets=False
        )
        config: dict[str, Any] = yaml.safe_load(dump)[self.config.subcommand]
        return config

    @override
    def before_instantiate_classes(self) -> None:
        command = self.config.subcommand
        if command == "consolidate":  # which has no Trainer
            self.config_dump = {}
            return
        if command == "export":  # what is compared is one process on the processor, and no run is logged
            warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint need to be provided.*")
            alone = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "logger": False}
            self.config.export.trainer.update(Namespace(alone))
        if command == "plan":  # what is planned for is said by the command; the Trainer is of the machine at hand
            here = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "logger": False}
            self.config.plan.trainer.update(Namespace(here))
        self.config_dump = self._plain_config()  # Lightning makes it only where it is not there yet
        for key in {"ckpt_path", "settings_from"} & self.config_dump.keys():
            self.config_dump[key] = None  # whoever uses the configuration starts a new run
        require_libraries(self.config[command])
        keep_mlflow_store_apart(self.config[command])
        data = self.config_dump["data"]
        self.trainer_defaults["callbacks"] = [
            MonitoredMetrics(),
            RunRecord(self.config_dump["name"], data) if command == "fit" else EvaluationRecord(data),
            RunConfiguration(
                self.config_dump,
                "config.yaml" if command == "fit" else f"config_{command}.yaml",
                self.config[command].get("ckpt_path"),
            ),
        ]

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self.config_init[self.subcommand]
        self.trainer_defaults["callbacks"] += [c for name in self.callback_groups if (c := config[name]) is not None]
        with settings_refused():
            trainer = super().instantiate_trainer(**kwargs)
        given = self.config[self.subcommand]
        RunFolder(runs_folder(given), run_name(given), kept_runs_folder(given), **self._continued).prepare(trainer)
        callbacks_of(trainer).insert(0, self._failure)  # all may fail from now on
        return trainer

    @override
    def instantiate_classes(self) -> None:
        if self.subcommand == "consolidate":  # which needs none
            return
        try:
            self._find_data()
            with WithinMemory():
                super().instantiate_classes()
        except ValueError as error:  # jsonargparse wraps what a constructor raises
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__ or cause.__context__
            raise cause or error from None

    def _find_data(self) -> None:
        """Look for the data first, if weights of the model may have to be downloaded: there may be none for it."""
        config = self.config[self.subcommand]
        settings = config.model.get("init_args") or Namespace()
        has_weights = any(key.endswith("weights") and value for key, value in settings.items())
        if has_weights and self.subcommand in ("fit", *EVALUATIONS):
            part = Namespace({self.subcommand: Namespace(data=config.data)})
            _find(self.parser.instantiate_classes(part)[self.subcommand].data, self.subcommand)

    @override
    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        options: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        return options | {"return_predictions": False} if subcommand == "predict" else options

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        if subcommand == "consolidate":
            consolidate(self.config.consolidate.checkpoint, self.config.consolidate.output)
            return
        if subcommand == "fit" or self._continued:
            require_writable(runs_folder(self.config[subcommand]))
            check_places(self.config[subcommand])
        if subcommand in EVALUATIONS:
            config = self.config[subcommand]
            need_weights(self.model, config.ckpt_path, config.random_weights)
        try:
            with self._failure.said_once(self.trainer), settings_refused(self.config[subcommand].trainer.precision):
                super()._run_subcommand(subcommand)
        except RuntimeError as error:
            if "loading state_dict" not in str(error):  # as torch says it
                raise
            path, reason = self.config[subcommand].get("ckpt_path"), " ".join(str(error).split())[:600]
            raise InputError(f"{path}: its weights do not fit this command's model. {reason}") from error


@rank_zero_only
def _find(data: BaseDataModule, stage: str) -> None:
    data.prepare_data()
    data.require_data(stage)

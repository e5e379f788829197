"""What must agree between a checkpoint and the command that uses it."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from sextant.errors import InputError
from sextant.files.location import Location
from sextant.resume.run_configuration import KEY
from sextant.resume.settings import differences, other_classes

OWN_CLASSES = "Nothing that only a checkpoint names is imported"


def configuration_of(path: Location, checkpoint: Mapping[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    """The configuration in a checkpoint, which is untrusted input.

    Args:
        path: the checkpoint, for the message.
        checkpoint: what it holds.
        parts: of the configuration that must be a class with its arguments: ``model`` and ``data``.

    Raises:
        InputError: it has none, or not one of a run.
    """
    found = checkpoint.get(KEY)
    if "global_step" in checkpoint and isinstance(found, dict) and isinstance(found.get("trainer"), dict):
        classes = [found[part].get("class_path") for part in parts if isinstance(found.get(part), dict)]
        if len(classes) == len(parts) and all(isinstance(name, str) for name in classes):
            return found
    raise InputError(
        f"{path}: not a checkpoint of a run of train.py. To start from its weights give them to the model "
        "(--model.weights), if it has that setting."
    )


def check_model_class(path: Location, old: str, new: str) -> None:
    """Require that a checkpoint holds a model of the command's class.

    Args:
        path: the checkpoint, for the message.
        old: the checkpoint's class.
        new: the command's.

    Raises:
        InputError: it holds another.
    """
    if old != new:
        raise InputError(
            f"{path}: a checkpoint of another workload: it holds a {old}, and this command has a {new}. Give the "
            "--config of the run that made it, or another checkpoint. If the class was only moved or renamed, say "
            "--settings_from=command: the command's class and settings hold then, and the weights have to fit."
        )


def check_agreement(path: Location, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Require that two configurations agree.

    Args:
        path: the checkpoint, for the message.
        old: the checkpoint's configuration.
        new: the command's.

    Raises:
        InputError: they differ; the message lists each key with both values.
    """
    found = list(differences(old, new))
    if not found:
        return
    lines = "".join(f"\n  {key}: checkpoint {a!r}, command {b!r}" for key, a, b in found)
    if any(other_classes(old, new)):
        advice = f"{OWN_CLASSES}: to go on with its classes give them to this command, or say --settings_from=command."
    else:
        advice = "Say which shall hold: --settings_from=checkpoint or --settings_from=command."
    raise InputError(f"{path}: the checkpoint was made with other settings than this command has:{lines}\n{advice}")


def check_options(path: Location, old: Mapping[str, Any], new: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Require that no argument of a command contradicts the checkpoint that it uses.

    What a configuration says beyond the arguments is that of the workload, and gives way.

    Args:
        path: the checkpoint, for the message.
        old: the checkpoint's configuration, as far as it is kept with the model.
        new: the command's.
        arguments: of the command.

    Raises:
        InputError: an argument does; the message lists each key with both values.
    """
    given = {argument[2:].partition("=")[0].rstrip("+").replace(".init_args", "") for argument in arguments}
    given -= {"model", "data"}  # the classes, which are compared by themselves
    found = [
        (key, a, b)
        for key, a, b in differences(old, new)
        if any(key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.") for name in given)
    ]
    if found:
        lines = "".join(f"\n  {key}: checkpoint {a!r}, command {b!r}" for key, a, b in found)
        raise InputError(
            f"{path}: these arguments contradict the model that the checkpoint holds:{lines}\nLeave them out, or say "
            "that they shall hold: --settings_from=command."
        )


def report_taken(path: Location, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Say which settings of a checkpoint hold in place of the command's configuration.

    Args:
        path: the checkpoint.
        old: the checkpoint's configuration, as far as it is kept with the model.
        new: the command's.
    """
    if found := list(differences(old, new)):
        lines = "".join(f"\n  {key}: {a!r}, not {b!r}" for key, a, b in found)
        rank_zero_info(f"{path}: the model's settings are the checkpoint's where the configuration differs:{lines}")


def check_classes(path: Location, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Require that a checkpoint's configuration names no class that the command does not name in the same place.

    Args:
        path: the checkpoint, for the message.
        old: the checkpoint's configuration.
        new: the command's.

    Raises:
        InputError: it names some; the message says which options give them to the command.
    """
    if found := list(other_classes(old, new)):
        options = "".join(f"\n  --{key}={name}" for key, name in found)
        raise InputError(
            f"{path}: --settings_from=checkpoint cannot take these classes from it:{options}\n{OWN_CLASSES}. Give "
            "those that you trust to this command, or let its own hold with --settings_from=command."
        )


def with_other_data(path: Location, old: Mapping[str, Any], new: Mapping[str, Any], error: InputError) -> InputError:
    """What to say where the settings of a checkpoint's data mean nothing to the data of a command.

    Args:
        path: the checkpoint, for the message.
        old: the checkpoint's configuration.
        new: the command's.
        error: what was said of a setting.

    Returns:
        An error that names the other class; ``error`` itself if it is the same.
    """
    trained, given = (each.get("data", {}).get("class_path") for each in (old, new))
    if trained == given or not isinstance(trained, str):
        return error
    return InputError(
        f"{path}: the model was trained with --data={trained}, and this command has {given}, which lacks settings that "
        f"say what the model reads. Give --config={path.parent.parent / 'config.yaml'}, the run's own configuration, "
        f"or --data={trained} with its settings."
    )


def check_partial_epoch(
    path: Location, checkpoint: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Require that the data of a run that is gone on with within an epoch is as it was.

    What is done of the epoch is counted in steps, which are others with other batches, or in another order.

    Args:
        path: the checkpoint, for the message.
        checkpoint: what it holds.
        old: the checkpoint's configuration.
        new: the command's.

    Raises:
        InputError: the checkpoint is of within an epoch, and the data or the seed differs.
    """
    position = checkpoint.get(str(old["data"]["class_path"]).rpartition(".")[2])
    if not isinstance(position, Mapping) or not position.get("done"):
        return
    was, is_now = ({key: each.get(key) for key in ("seed_everything", "data")} for each in (old, new))
    if found := list(differences(was, is_now)):
        lines = "".join(f"\n  {key}: checkpoint {a!r}, command {b!r}" for key, a, b in found)
        raise InputError(
            f"{path}: the checkpoint is of within an epoch, whose data cannot change:{lines}\nGive these as the "
            "checkpoint has them until the epoch is over, or go on from a checkpoint of the end of an epoch "
            "(--recovery_checkpoint.keep_epochs keeps some)."
        )

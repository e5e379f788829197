"""Where a run keeps its configuration and its checkpoints."""

from pathlib import Path

from lightning.pytorch import Trainer

from sextant.files.location import Location, is_url, location


def kept_folder(trainer: Trainer) -> Location | None:
    """Where a run keeps its configuration and its checkpoints, which all processes ask for together; None for nowhere.

    That is the folder of its log, or, where ``default_root_dir`` is a URL, one of the same name under that. Without a
    logger a plain Trainer has ``default_root_dir`` itself.
    """
    log_dir, root = trainer.log_dir, trainer.default_root_dir
    if log_dir is None or log_dir == root:
        return None if log_dir is None else location(log_dir)
    folder = location(log_dir)
    return kept_runs(folder.parent, root) / folder.name


def kept_runs(runs: Location, root: str | None) -> Location:
    """The folder with what the runs of a workload keep that is no log.

    Args:
        runs: the folder with their logs.
        root: ``default_root_dir``; None if it is not given.
    """
    return location(root) / runs.name if root and is_url(root) and isinstance(runs, Path) else runs

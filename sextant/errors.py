"""The exception for what a user can put right."""


class InputError(ValueError):
    """Bad input: data on disk, a setting, or a checkpoint.

    The message stands alone: it says where (file, line or key), what was found, and what to do.
    ``train.py`` prints it without a traceback.
    """

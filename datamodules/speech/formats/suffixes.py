"""What the names of audio files end in."""

from pathlib import PurePath

#: Of formats that are read.
SUFFIXES = (
    {".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd"}
    | {".flac", ".ogg", ".oga", ".opus"}
    | {".mp1", ".mp2", ".mp3", ".mpga"}
)
#: Of formats that are not read: such files are to be converted, and not to be left out without a word.
OTHER_SUFFIXES = (
    {".m4a", ".m4b", ".m4r", ".aac", ".alac", ".wma", ".amr", ".awb", ".3ga", ".ac3", ".eac3", ".dts", ".spx", ".qcp"}
    | {".ape", ".wv", ".tta", ".tak", ".shn", ".mpc", ".dsf", ".dff", ".ra", ".rm", ".gsm", ".vox"}
    | {
        ".voc",
        ".sph",
        ".nist",
        ".htk",
        ".sf",
        ".ircam",
        ".paf",
        ".pvf",
        ".avr",
        ".iff",
        ".svx",
        ".8svx",
        ".sds",
        ".sd2",
    }
    | {".webm", ".weba", ".mka", ".mkv", ".mp4", ".m4v", ".mov", ".3gp", ".avi", ".wmv", ".asf", ".flv", ".ogv", ".ogx"}
    | {".mpg", ".mpeg"}
)


def is_audio(name: PurePath) -> bool:
    """Whether a file of this name is audio, of a format that is read or not."""
    return name.suffix.lower() in SUFFIXES | OTHER_SUFFIXES

"""The command line: parsing, the Trainer with more commands, one file for each further command."""

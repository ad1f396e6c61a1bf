"""The command line within the tests' own process: a process for each refusal would take half a second of CPU."""

import gc
import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from unittest.mock import patch

from click.testing import CliRunner

from harness import clean_environment
from log_lines import logging_as_before
from sprocket_factory.commands import cli
from sprocket_factory.commands.env_file import read_env_file


def run_here(*arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `sprocket-factory` to its end, as run_program does. It may not come to serving.

    An exception that the program would show as a traceback comes through.
    """
    environ = patch.dict(os.environ, clean_environment() | environment, clear=True)
    with chdir(folder), environ, logging_as_before(), everything_closed():
        read_env_file()
        result = CliRunner().invoke(cli, arguments, prog_name="sprocket-factory", catch_exceptions=False)
        done = subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)
        del result  # it holds the frames in which something may be open
    return done


@contextmanager
def everything_closed() -> Iterator[None]:
    """Close whatever the block has left open, as the end of a process would."""
    gc.freeze()  # so that nothing older is looked through
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
            gc.collect()
    finally:
        gc.unfreeze()

"""What the operator types. One file per verb."""

import click

from sprocket_factory import __version__
from sprocket_factory.commands.backup import backup
from sprocket_factory.commands.check import check
from sprocket_factory.commands.copy import copy
from sprocket_factory.commands.demo import demo
from sprocket_factory.commands.doctor import doctor
from sprocket_factory.commands.env_file import read_env_file
from sprocket_factory.commands.export import export
from sprocket_factory.commands.key import key
from sprocket_factory.commands.load import load
from sprocket_factory.commands.migrate import migrate
from sprocket_factory.commands.prune import prune
from sprocket_factory.commands.restore import restore
from sprocket_factory.commands.serve import serve
from sprocket_factory.settings import ENVIRONMENT_PREFIX


@click.group(context_settings={"auto_envvar_prefix": ENVIRONMENT_PREFIX, "help_option_names": ["-h", "--help"]})
@click.version_option(__version__, allow_from_autoenv=False)
def cli() -> None:
    """Keep a sprocket manufacturer's catalogue, factories and production, and serve them over REST."""


for command in (serve, load, export, copy, migrate, backup, restore, check, doctor, key, prune, demo):
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    read_env_file()
    cli(prog_name="sprocket-factory")

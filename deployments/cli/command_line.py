"""The parser of `dqg`: imports only the called command, and translates to the set language."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

import typer
from typer._click.core import Context
from typer._click.formatting import HelpFormatter
from typer.core import TyperGroup
from typer.exceptions import TyperException

from deployments.cli.language import N_, _, help_key, load_language, use_language


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is defined, and its help text in the list of commands.

    Attributes:
        module: name of the module in `deployments.cli`.
        name: name of its function or Typer application in that module.
    """

    module: str
    name: str
    help: str

    def load(self, command: str) -> Any:
        """Imports the command and returns it."""
        part = getattr(_imported(f"deployments.cli.{self.module}"), self.name)
        holder = typer.Typer()
        if isinstance(part, typer.Typer):
            holder.add_typer(part, name=command)
        else:
            holder.command(command)(part)
        return typer.main.get_group(holder).commands[command]


class _Formatter(HelpFormatter):
    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or _("Usage: "))


class _Context(Context):
    formatter_class = _Formatter


class CommandLine(TyperGroup):
    """The whole command line. Its list of commands is shown without importing any of them."""

    context_class = _Context
    lazy_commands: ClassVar[Mapping[str, LazyCommand]]

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        use_language(load_language())
        with _translated_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _translated_errors():
            return super().invoke(ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        _translate_help(self, ctx)
        return super().get_params(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _translate_help(command, ctx)
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            command = self.lazy_commands[name].load(name)
            _translate_help(command, ctx)
        return name, command, rest


def whole(app: typer.Typer, commands: Mapping[str, LazyCommand]) -> TyperGroup:
    """The command line with every command imported, for tools that need all of them."""
    group = typer.main.get_group(app)
    group.commands = {name: command.load(name) for name, command in commands.items()}
    group.params = typer.main.get_command(app).params
    return group


def _translate_help(command: Any, ctx: Any) -> None:
    """Translates a command's help. It is plain text: drawing boxes takes twice the time."""
    command.context_class = _Context
    command.rich_markup_mode = None
    command.options_metavar = _("[OPTIONS]")
    if isinstance(command, TyperGroup):
        command.subcommand_metavar = _("COMMAND [ARGS]...")
    for part in (command, *command.params, command.get_help_option(ctx)):
        if getattr(part, "help", None):
            part.help = _(help_key(part.help))
    # Otherwise the list of commands would show only as much text as fits on one line.
    command.short_help = (command.help or "").split("\n")[0]
    for subcommand in getattr(command, "commands", {}).values():
        _translate_help(subcommand, ctx)


# -- the parser's messages about wrong usage -------------------------------------------------------

#: The parser's messages are English, with the values already inserted: these are extracted again.
_USAGE_ERRORS = (
    N_("Missing argument {name}. Choose from:{choices}"),
    N_("Missing argument {name}."),
    N_("Missing option {name}."),
    N_("No such option: {name} (Possible options: {names})"),
    N_("No such option: {name}"),
    N_("Option {name} requires an argument."),
    N_("Option {name} does not take a value."),
    N_("Got unexpected extra argument(s) ({names})"),
    N_("Invalid value for {name}: {why}"),
    N_("Value error, {why}"),
    N_("{value} is not one of {choices}."),
    N_("{text}. Did you mean {names}?"),
    N_("Input should be a valid integer, unable to parse string as an integer"),
    N_("Input should be a valid number, unable to parse string as a number"),
    N_("Input should be greater than or equal to {number}"),
    N_("Input should be less than or equal to {number}"),
)


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    text = "".join(f"(?P<{p}>.+?)" if n % 2 else re.escape(p) for n, p in enumerate(parts))
    return re.compile(text, re.DOTALL)


def translate_usage_error(text: str) -> str:
    """Translates a message of the parser; an unknown message stays English."""
    for template in _USAGE_ERRORS:
        if match := _pattern(template).fullmatch(text):
            values = {name: translate_usage_error(part) for name, part in match.groupdict().items()}
            return _(template, **values) if values else _(template)
    return text


def _imported(module: str) -> ModuleType:
    """Imports a module without garbage collection, which would take a tenth of the time."""
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except TyperException as error:
        text = translate_usage_error(error.format_message())
        error.format_message = lambda: text  # type: ignore[method-assign]
        raise

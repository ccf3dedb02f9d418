"""Verbs whose modules are imported when they are called, or their own help is asked for."""

import inspect
import keyword
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


def reflowed(text: str) -> str:
    """Return a docstring whose paragraphs are one line each, for a terminal to break where it ends.

    >>> reflowed("Do this,\\n    and that.\\n\\n    Example: now\\n")
    'Do this, and that.\\n\\nExample: now'
    """
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in paragraph.splitlines()) for paragraph in paragraphs)


def flags_without_values(parameters: list[Any]) -> list[Any]:
    """Let help show a flag without the type of a value, which it does not take.

    Flags of shell completion get a value for when they are not given, as ``--help`` does in :class:`LazyGroup`.
    """
    for parameter in parameters:
        if parameter.name in ("install_completion", "show_completion"):
            parameter.default = False
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


def function_of(module: str, verb: str) -> Callable[..., Any]:
    """Return the function of a verb, which is called like it; ``import_`` where the name is a word of Python."""
    return cast("Callable[..., Any]", getattr(import_module(module), verb + "_" * keyword.iskeyword(verb)))


class Verb(TyperCommand):
    """A verb whose help shows flags as flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters and ``--help``."""
        return flags_without_values(super().get_params(ctx))


class LazyVerb(TyperCommand):
    """Stands for a verb in the list of verbs, and becomes the verb itself once it is called.

    Args:
        name: the name of the verb.
        summary: the first paragraph of the function's docstring.
        module: has the function.
    """

    def __init__(self, name: str, summary: str, module: str) -> None:
        super().__init__(name, help=summary)
        self.module = module

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Begin the verb itself; its parameters are those of its function."""
        assert self.name is not None
        app = typer.Typer(add_completion=False)
        function = function_of(self.module, self.name)
        app.command(self.name, cls=Verb, help=reflowed(function.__doc__ or ""))(function)
        return get_command(app).make_context(*args, **kwargs)


class LazyGroup(TyperGroup):
    """A group whose verbs are :class:`LazyVerb`.

    Attributes:
        prefix: the prefix of the verbs' modules; the verb's name follows.
        summaries: the summaries of the verbs, by name, in the order in which help lists them.
    """

    prefix: ClassVar[str]
    summaries: ClassVar[Mapping[str, str]]

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        verbs = {name: LazyVerb(name, text, f"{self.prefix}{name}") for name, text in self.summaries.items()}
        self.commands = verbs | dict(self.commands)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters and ``--help``."""
        return flags_without_values(super().get_params(ctx))

    def get_help_option(self, ctx: Any) -> Any:
        """Return ``--help`` with a value when it is not given: to learn that none is none, typer imports pydantic."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

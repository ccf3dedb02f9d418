"""Names in ``experiment.yaml`` to code that the site has installed: the only way configuration chooses what runs."""

import ast
import difflib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar, cast

from pydantic import ValidationError

from fedgin.config import place
from fedgin.errors import ConfigError

ProductT = TypeVar("ProductT")
FactoryT = TypeVar("FactoryT", bound=Callable[..., object])


class Registry(Generic[ProductT]):
    """Factories by name, filled by the modules of one package.

    A new entry takes one file: a module of ``package`` (or any imported module) that decorates its class or function
    with :meth:`register`. Only keyword-only parameters of the factory can be set from configuration.

    Args:
        kind: what the entries are, for error messages, such as ``augmentation``.
        package: the package whose modules are imported before the first look-up.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._factories: dict[str, Callable[..., ProductT]] = {}

    def register(self, name: str) -> Callable[[FactoryT], FactoryT]:
        """Return a decorator that files a class or function, which must make the registry's kind, under ``name``."""

        def file(factory: FactoryT) -> FactoryT:
            if name in self._factories:
                raise ValueError(f"two {self.kind}s are called '{name}'")
            self._factories[name] = cast(Callable[..., ProductT], factory)
            return factory

        return file

    def names(self) -> list[str]:
        """Return every name, sorted."""
        import_modules(self.package)
        return sorted(self._factories)

    def build(self, name: str, params: Mapping[str, object], **fixed: object) -> ProductT:
        """Call the factory of ``name`` with ``params`` from configuration and ``fixed`` from code.

        Raises:
            ConfigError: unknown name, unknown parameter or a value that the factory refuses.
        """
        import_modules(self.package)
        known = {key: _keyword_only(factory) for key, factory in self._factories.items()}
        check_choice(self.kind, known, name, params, fixed=fixed)
        try:
            return self._factories[name](**params, **fixed)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.kind} '{name}': {_faults(error)}", "correct its parameters") from None


def import_modules(package: str) -> None:
    """Import every module of a package, by which each files what it registers."""
    path = importlib.import_module(package).__path__
    for module in pkgutil.iter_modules(path, f"{package}."):
        importlib.import_module(module.name)


def check_choice(
    kind: str,
    known: Mapping[str, Sequence[str]],
    name: str,
    params: Collection[str],
    *,
    fixed: Collection[str] = (),
) -> None:
    """Check the name of an entry and of each of its parameters; their values are not looked at.

    Args:
        kind: as in :class:`Registry`.
        known: the keyword-only parameters of every entry.
        name: from configuration.
        params: the names from configuration.
        fixed: parameters that code sets.

    Raises:
        ConfigError: names what does not exist, what may have been meant, and every choice.
    """
    if name not in known:
        raise ConfigError(f"unknown {kind} '{name}'", f"{_meant(name, known)}choose one of {', '.join(sorted(known))}")
    settable = [key for key in known[name] if key not in fixed]
    unknown = sorted(set(params) - set(settable))
    if unknown:
        choices = f"its parameters are {', '.join(settable)}" if settable else "it takes none"
        named = ", ".join(f"'{key}'" for key in unknown)
        raise ConfigError(f"{kind} '{name}' has no parameter {named}", f"{_meant(unknown[0], settable)}{choices}")


def _meant(name: str, known: Collection[str]) -> str:
    like = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{like[0]}'? " if like else ""


@functools.cache
def declared(package: str) -> Mapping[str, tuple[str, ...]]:
    """Read from the source of a registry's package what it would register; nothing of it is imported.

    A console and FLARE's own processes check a job's names without PyTorch and MONAI.

    Args:
        package: a package of ours, as :class:`Registry` takes it.

    Returns:
        The keyword-only parameters of every entry, by its name.
    """
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    # Base classes of methods are in the package above.
    files = [*sorted(folder.parent.glob("*.py")), *sorted(folder.glob("*.py"))]
    nodes = [node for file in files for node in ast.parse(file.read_text(encoding="utf-8")).body]
    parts = [node for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    classes = {part.name: part for part in parts if isinstance(part, ast.ClassDef)}
    return {name: _declared_parameters(part, classes) for part in parts if (name := _registered_name(part))}


def _registered_name(part: ast.ClassDef | ast.FunctionDef) -> str:
    for call in part.decorator_list:
        if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] == "register" and call.args:
            return str(ast.literal_eval(call.args[0]))
    return ""


def _declared_parameters(part: ast.ClassDef | ast.FunctionDef, classes: Mapping[str, ast.ClassDef]) -> tuple[str, ...]:
    if isinstance(part, ast.FunctionDef):
        return tuple(argument.arg for argument in part.args.kwonlyargs)
    own: list[ast.ClassDef | ast.FunctionDef] = [
        node for node in part.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ]
    bases = [classes[name] for base in part.bases if (name := ast.unparse(base).split("[")[0]) in classes]
    inherited = (_declared_parameters(node, classes) for node in [*own, *bases])
    return next(inherited, ())


@functools.cache  # asked of every entry whenever one is built
def _keyword_only(factory: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(factory).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


def _faults(error: TypeError | ValueError) -> str:
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False)
        return "; ".join(f"'{place(fault['loc'])}': {fault['msg']}" for fault in faults)
    return str(error)

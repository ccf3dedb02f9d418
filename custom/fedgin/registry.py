"""Names in ``experiment.yaml`` to code that the site has installed: the only way configuration chooses what runs."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar, cast

from pydantic import ValidationError

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
        self._import_package()
        return sorted(self._factories)

    def build(self, name: str, params: Mapping[str, object], **fixed: object) -> ProductT:
        """Call the factory of ``name`` with ``params`` from configuration and ``fixed`` from code.

        Raises:
            ConfigError: unknown name, unknown parameter or a value that the factory refuses.
        """
        if name not in self.names():
            raise ConfigError(f"unknown {self.kind} '{name}'", f"choose one of {', '.join(self.names())}")
        factory = self._factories[name]
        settable = [key for key in _keyword_only(factory) if key not in fixed]
        unknown = sorted(set(params) - set(settable))
        if unknown:
            raise ConfigError(
                f"{self.kind} '{name}' has no parameter '{unknown[0]}'",
                f"its parameters are {', '.join(settable)}" if settable else "it takes none",
            )
        try:
            return factory(**params, **fixed)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.kind} '{name}': {_first_fault(error)}", "correct its parameters") from None

    def _import_package(self) -> None:
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__, f"{self.package}."):
            importlib.import_module(module.name)


def _keyword_only(factory: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(factory).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


def _first_fault(error: TypeError | ValueError) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors(include_url=False)[0]
        return f"'{'.'.join(str(part) for part in fault['loc'])}': {fault['msg']}"
    return str(error)

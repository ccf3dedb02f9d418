import pytest

from fedgin.augment.registry import AUGMENTATIONS
from fedgin.errors import ConfigError
from fedgin.registry import Registry, declared


def registry() -> Registry[object]:
    made: Registry[object] = Registry("shape", "fedgin.nets")

    @made.register("circle")
    def circle(*, radius: int = 1, unit: str) -> tuple[int, str]:
        if radius < 0:
            raise ValueError("radius is negative")
        return radius, unit

    return made


def test_parameters_from_configuration_and_code_meet() -> None:
    assert registry().build("circle", {"radius": 3}, unit="mm") == (3, "mm")


@pytest.mark.parametrize(
    ("name", "params", "named"),
    [
        ("square", {}, "unknown shape 'square'. Fix: choose one of circle"),
        ("circle", {"unit": "m"}, "has no parameter 'unit'. Fix: its parameters are radius"),
        ("circle", {"radius": -1}, "shape 'circle': radius is negative"),
    ],
)
def test_what_is_wrong_is_named(name: str, params: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry().build(name, params, unit="mm")
    assert named in str(caught.value)


def test_a_name_is_given_once() -> None:
    made = registry()
    with pytest.raises(ValueError, match="two shapes are called 'circle'"):
        made.register("circle")(lambda: None)


def test_what_the_source_declares_is_what_is_registered() -> None:
    found = declared(AUGMENTATIONS.package)
    # Other tests file augmentations of their own in the same registry.
    assert sorted(found) == [name for name in AUGMENTATIONS.names() if not name.startswith("test-")]
    for name, parameters in found.items():
        with pytest.raises(ConfigError) as caught:
            AUGMENTATIONS.build(name, {"no_such_parameter": 1})
        listed = ", ".join(parameters)
        assert (f"its parameters are {listed}" if parameters else "it takes none") in str(caught.value)

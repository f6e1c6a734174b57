"""No number of a file or of a command line may be one that no comparison holds for, or that turns a check off."""

import math
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import click
import msgspec
import pytest

from daemons.configuration.forwarder import ForwarderConfig
from daemons.configuration.probe import ProbeConfig
from daemons.configuration.receiver import ReceiverConfig
from daemons.errors import ConfigError
from daemons.forwarder.main import main as forwarder
from daemons.probe.main import main as probe
from daemons.receiver.main import main as receiver
from daemons.sections import Seconds, Section
from daemons.service.settings.config import load
from daemons.service.settings.numbers import Number
from daemons.service.settings.spans import Span
from daemons.simulator.main import main as simulator
from experiments.main import main as experiment
from experiments.validation.config import Range, Suite
from provisioning.main import main as provision
from provisioning.topology import Topology


def alternatives(kind: Any) -> Iterator[tuple[Any, tuple[msgspec.Meta, ...]]]:
    """Take a choice of types, and collections, apart into plain types with their bounds."""
    if get_origin(kind) is Annotated:
        inner, *metas = get_args(kind)
        yield inner, tuple(metas)
    elif kind == Range:
        # Of these the upper end may be infinite; the rest is checked where suites are.
        return
    elif get_origin(kind) in (Union, UnionType, tuple, list, dict):
        for one in get_args(kind):
            yield from alternatives(one)
    else:
        yield kind, ()


def numbers(kind: type[msgspec.Struct], seen: set[type]) -> Iterator[tuple[str, tuple[msgspec.Meta, ...]]]:
    """Find every float of a configuration, with its bounds."""
    if kind in seen:
        return
    seen.add(kind)
    for field in msgspec.structs.fields(kind):
        for found, metas in alternatives(field.type):
            if found is float and field.name != "json_value":  # to be compared with, and no limit
                yield f"{kind.__name__}.{field.name}", metas
            elif isinstance(found, type) and issubclass(found, msgspec.Struct):
                yield from numbers(found, seen)


ROOTS = (ReceiverConfig, ForwarderConfig, ProbeConfig, Suite, Topology)
FLOATS = [(name, metas) for seen in [set[type]()] for root in ROOTS for name, metas in numbers(root, seen)]


@pytest.mark.parametrize(("name", "metas"), FLOATS, ids=[name for name, _metas in FLOATS])
def test_every_number_of_a_file_has_both_bounds_where_it_is_declared(
    name: str, metas: tuple[msgspec.Meta, ...]
) -> None:
    (meta,) = metas
    kind = Annotated[float, meta]
    for bad in (math.nan, math.inf, -math.inf, -1.0, -5e-324, 10**400):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, kind)


def test_there_are_such_numbers() -> None:
    names = [name for name, _metas in FLOATS]
    assert {"ClockSection.max_error_ms", "RouteSection.interval_seconds", "TargetSection.timeout_seconds"} <= set(names)
    assert len(names) > 15


class Limits(Section, frozen=True):
    wait_seconds: Seconds | None = None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "wait_seconds: nan is out of range; write a number above 0"),
        (-1, "wait_seconds: -1 is out of range; write a number above 0"),
        (math.inf, "wait_seconds: inf is out of range; write a number of at most 1000000000"),
        (10**400, "wait_seconds: 1"),
    ],
)
def test_what_is_out_of_range_is_told_with_the_bound(value: float, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Limits, None, {"wait_seconds": value})
    assert str(caught.value).startswith(said)


def options(command: click.Command, name: str) -> Iterator[tuple[str, click.Option]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from options(found, f"{name} {below}")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield f"{name} {parameter.opts[-1]}", parameter


COMMANDS = {
    "latency-receiver": receiver,
    "latency-forwarder": forwarder,
    "latency-probe": probe,
    "latency-simulator": simulator,
    "experiment": experiment,
    "provision": provision,
}
OPTIONS = [found for name, command in COMMANDS.items() for found in options(command, name)]
REAL = [found for found in OPTIONS if isinstance(found[1].type, (click.types.FloatParamType, Span))]
WHOLE = [found for found in OPTIONS if isinstance(found[1].type, click.types.IntParamType)]


@pytest.mark.parametrize(("name", "option"), REAL, ids=[name for name, _option in REAL])
@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e999", "-1", "-0.001"])
def test_no_option_takes_what_is_no_finite_number_or_below_zero(name: str, option: click.Option, text: str) -> None:
    with pytest.raises(click.BadParameter):
        option.type.convert(text, option, None)


@pytest.mark.parametrize(("name", "option"), WHOLE, ids=[name for name, _option in WHOLE])
def test_no_option_takes_a_negative_number_of_things(name: str, option: click.Option) -> None:
    with pytest.raises(click.BadParameter):
        option.type.convert("-1", option, None)


def test_the_options_were_found() -> None:
    names = {name for name, _option in REAL}
    assert {
        "latency-receiver --max-clock-error-ms",
        "experiment compare --margin-ms",
        "latency-simulator --rate",
    } <= names
    assert len(WHOLE) > 5


def test_bounds_are_those_of_click() -> None:
    positive = Number(0, min_open=True)
    assert positive.convert("0.5", None, None) == 0.5
    with pytest.raises(click.BadParameter, match="is not in the range"):
        positive.convert("0", None, None)
    with pytest.raises(click.BadParameter, match="'nan' is no finite number"):
        positive.convert("nan", None, None)

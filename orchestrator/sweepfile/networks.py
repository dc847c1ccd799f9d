"""Faults of the networks of extensions in a sweep file, which show where they meet its data sets and methods."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from anytime_core.config import AnyNetwork, DataConfig, Opt
from anytime_core.cost import network_costs
from anytime_core.data.catalog import dataset_of
from anytime_core.extend import Network
from anytime_core.training.suiting import lacking
from orchestrator.extensions.importing import told
from orchestrator.sweepfile.document import Document, Fault
from orchestrator.sweepfile.faults import sound_items, sound_section

LABEL = re.compile(r"[^\W_][^\n\r]{0,63}")


def faults(document: Document, networks: Mapping[int, AnyNetwork], datasets: Sequence[DataConfig]) -> list[Fault]:
    """``networks`` and ``datasets`` are those that have no fault of their own."""
    own = {index: network for index, network in networks.items() if isinstance(network, Network)}
    mislabelled = list(_labelled_alike(document, networks, own))
    places = {fault.key for fault in mislabelled}
    called = {index: network for index, network in own.items() if ("networks", str(index)) not in places}
    return [
        *_unfit(document, own, datasets),
        *mislabelled,
        *(fault for index, network in called.items() for fault in _unsuited(document, index, network, datasets)),
    ]


def _unfit(document: Document, own: Mapping[int, Network], datasets: Iterable[DataConfig]) -> Iterator[Fault]:
    """Networks that do not run on some data set, or whose costs cannot be."""
    for (index, network), data in product(own.items(), datasets):
        spec = dataset_of(data)
        try:
            network_costs(network, spec.classes, spec.channels, spec.size)
        except (Exception, SystemExit) as error:  # an extension may raise anything
            yield document.fault(("networks", index), f"on {data.name}, {told(error)}")


def _labelled_alike(
    document: Document, networks: Mapping[int, AnyNetwork], own: Mapping[int, Network]
) -> Iterator[Fault]:
    """Tables, lookups and figures know a network by its label alone."""
    first: dict[str, int] = {}
    for index, network in networks.items():
        try:
            label = str(network.label)
        except (Exception, SystemExit) as error:  # an extension may raise anything
            yield document.fault(("networks", index), f"its label raises {type(error).__name__}: {error}")
            continue
        twin = first.setdefault(label, index)
        if index in own and not LABEL.fullmatch(label):
            message = f"its label is {label!r}, must be one line, up to 64 long, a letter or digit first"
            yield document.fault(("networks", index), message)
        elif twin != index and networks[twin] != network:
            yield document.fault(("networks", index), f"is called {label} in tables, as networks.{twin} is")


def _unsuited(document: Document, index: int, network: Network, datasets: Sequence[DataConfig]) -> Iterator[Fault]:
    """What a method or the training asks of a network that has no such thing."""
    training, weights = sound_section(document, "training"), sound_section(document, "weights")
    methods = sound_items(document, "methods") if training and weights and datasets else {}
    needs = [
        need
        for method in methods.values()
        for regime in ([Opt(unit=1)] if method.regime == "opt" else method.regimes(network, datasets[0], weights))
        for need in lacking(network, regime, training)
    ]
    yield from (document.fault(("networks", index), need) for need in dict.fromkeys(needs))

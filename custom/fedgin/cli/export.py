"""``fedgin export``: the model of a run as a MONAI bundle with a model card."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fedgin.cli.options import Overwrite
from fedgin.errors import ConfigError

if TYPE_CHECKING:
    from fedgin.data.appearance import Appearance


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run: of 'run' or 'train', or one arm of a demo or study.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle, which is made.")],
    fingerprint: Annotated[
        list[Path] | None,
        typer.Option(help="fingerprint.json of a site, for a run that knows no images; may be repeated."),
    ] = None,
    accept: Annotated[str, typer.Option(help="What is wrong with a run that was no success, word for word.")] = "",
    overwrite: Overwrite = False,
) -> None:
    """Write the run's model, its settings and a model card as a MONAI bundle.

    The same command replaces its bundle; the bundle of other weights goes with --overwrite alone, whatever its run.

    A run that was no success is refused, unless --accept repeats what is wrong with it; the card says so then.

    'fedgin predict' warns of images unlike those of the training. What these look like is known of a demo, a study and
    'fedgin train'; of a federation, the sites' fingerprints say it.

    Example: fedgin export runs/demo/arms/fedgin --out bundle
    """
    from fedgin.files import writing
    from fedgin.folders import whole_folder
    from fedgin.train.provenance import read_provenance

    provenance = read_provenance(run)
    if provenance.fault and accept != provenance.fault:
        raise ConfigError(f"the run was no success: {provenance.fault}", f"--accept '{provenance.fault}'")
    # Seconds to import: a run that is refused is told before.
    from fedgin.deploy.bundle import hash_weights, read_model, write_bundle
    from fedgin.deploy.model_card import CARD_HTML, write_model_card

    if fingerprint:
        provenance = provenance.model_copy(update={"appearances": _read_fingerprints(fingerprint)})
    weights = read_model(run, provenance)
    # Names of runs repeat: every demo has an arm 'fedgin'.
    holds = f"the bundle of {provenance.run}, weights {hash_weights(weights)[:12]}"
    with writing("the bundle"), whole_folder(out, holds=holds, overwrite=overwrite) as part:
        write_model_card(write_bundle(part, provenance, weights), provenance.fault)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{provenance.chosen}\nBundle: {out}\nModel card: {out / CARD_HTML}")


def _read_fingerprints(paths: list[Path]) -> "list[Appearance]":
    from fedgin.data.appearance import read_fingerprints
    from fedgin.documents import read_json

    try:
        values = [read_json(path, source=f"fingerprint {path}") for path in paths]
    except ConfigError as error:
        raise ConfigError(error.problem, "give fingerprint.json of 'fedgin site validate'") from None
    return read_fingerprints(values)

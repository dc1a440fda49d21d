"""``embed``: pictures, texts or sounds as a modality of a dataset."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.errors import ConfigError
from training.media import DEFAULTS, Kind

if TYPE_CHECKING:
    from training.media.embed import Embedded
    from training.media.sources import Source

log = logging.getLogger(__name__)

_NAMED = 3  # files that a warning names


def embed(
    out: Annotated[
        Path, typer.Option("--out", help="Folder to write into, such as a dataset's embeddings.")
    ],
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures whose names are item ids.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Table of texts: .csv, .tsv or .parquet.")
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="Folder of WAV files whose names are item ids.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(DEFAULTS.values())}; an ONNX file with its description beside it; "
            "sentence-transformers:FOLDER; open_clip:ARCHITECTURE:FILE.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the modality; default: image, text or audio."),
    ] = None,
    id_column: Annotated[
        str, typer.Option("--id", help="Column of --texts with the item ids.")
    ] = "item_id",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="Column of --texts with the text; repeated ones are joined. Default: text, "
            "else title.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Items encoded at once.")] = 32,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Leave out items that cannot be encoded.")
    ] = False,
) -> None:
    """Encode the pictures, texts or sounds of items into embeddings for a dataset folder.

    Run the same command again to resume an interrupted one, or after media have changed: only new
    and changed ones are encoded.
    """
    from training.media.embed import embed as embed_media
    from training.media.encoder import media_packages
    from training.media.registry import open_encoder

    kind, path = _media(images, texts, audio)
    name = name or kind
    _check_name(name)
    with media_packages():
        source = _source(kind, path, id_column, columns or [])
        opened = open_encoder(encoder, kind)
    embedded = embed_media(source, opened, out, name, batch=batch, leave_out=leave_out)
    for line in _summary(embedded, opened.label):
        typer.echo(line)
    values = _within_dataset(embedded.array)
    typer.echo(f'\n[embeddings.{name}]  # for dataset.toml\nvalues = "{values}"')


def _within_dataset(array: Path) -> Path:
    """Return an array's path within its dataset; without one, within the folder above its own."""
    from training.data.schema import DESCRIPTION

    path = array.absolute()
    datasets = (folder for folder in path.parents if (folder / DESCRIPTION).is_file())
    return path.relative_to(next(datasets, path.parent.parent))


def _media(images: Path | None, texts: Path | None, audio: Path | None) -> tuple[Kind, Path]:
    """Return the kind of media and its place; raises ConfigError unless it is one."""
    places: dict[Kind, Path | None] = {"image": images, "text": texts, "audio": audio}
    given = [(kind, path) for kind, path in places.items() if path is not None]
    if len(given) != 1:
        raise ConfigError("name one of --images FOLDER, --texts FILE and --audio FOLDER")
    return given[0]


def _check_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from service.contract.manifest import Name

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        problem = "write up to 64 lower-case letters, digits, - and _"
        raise ConfigError(f"--name {name!r}: {problem}") from error


def _source(kind: Kind, path: Path, id_column: str, columns: list[str]) -> Source:
    from training.media.sources import Folder, Texts, suffixes

    if kind == "text":
        return Texts(path, id_column, columns)
    if not path.is_dir():
        raise ConfigError(f"{path}: is no folder; name the one that holds the files")
    folder = Folder(path, suffixes(kind))
    if folder.others:
        names = ", ".join(folder.others[:_NAMED])
        more = len(folder.others) - _NAMED
        log.warning("%s: not read: %s%s", path, names, f" and {more} more" if more > 0 else "")
    return folder


def _summary(embedded: Embedded, label: str) -> list[str]:
    """Return the lines on what was written."""
    norms = embedded.norms
    left_out = f", {embedded.left_out} left out" if embedded.left_out else ""
    return [
        f"{embedded.encoded} items encoded by {label}, {embedded.known} known before{left_out}",
        f"{norms.vectors} vectors of {norms.dim} dimensions, of length {norms.least:.3g} to "
        f"{norms.greatest:.3g}, {norms.mean:.3g} on average",
        f"wrote {embedded.array} and {embedded.ids.name}",
    ]

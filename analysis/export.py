"""`scaleproof export`: every view of a study as files that other tools read."""

from pathlib import Path
from typing import Literal, get_args

from analysis.grid import to_csv, to_json
from analysis.sql import grid_of, parquet_bytes
from data.errors import InputError
from data.locks import write_aside
from data.schema import VIEWS
from data.store import Store

Format = Literal["parquet", "csv", "json"]


def export_tables(study_path: Path, folder: Path, format: str = "parquet") -> list[Path]:
    """Write each view to `<folder>/<view>.<format>`, rows in a fixed order; return the paths as VIEWS has them.

    The folder is made where it is missing; a file of the same name is replaced whole. Raises InputError for an unknown
    format, a folder that is no study, and one that cannot be written.
    """
    if format not in get_args(Format):
        raise InputError(f"--format {format} is unknown: take one of {', '.join(get_args(Format))}.")
    store = Store(study_path)
    paths = []
    for view in VIEWS:
        table = store.query(f"SELECT * FROM {view} ORDER BY ALL")
        if format == "parquet":
            content = parquet_bytes(table)
        else:
            content = (to_csv if format == "csv" else to_json)(grid_of(table)).encode()
        path = folder / f"{view}.{format}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_aside(path, content)
        except OSError as error:
            raise InputError(
                f"{path} cannot be written ({error.strerror}): name a folder that you may write to."
            ) from error
        paths.append(path)
    return paths

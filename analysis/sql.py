"""`scaleproof sql`: one statement that reads, one answer in the format asked for.

Nothing heavy is imported before the answer needs it: a fresh process answers within a second.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from analysis.grid import Grid, to_csv, to_json, to_markdown, to_table
from data.errors import InputError
from data.locks import write_aside

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["table", "csv", "json", "markdown", "parquet"]
TEXT_WRITERS = {"table": to_table, "csv": to_csv, "json": to_json, "markdown": to_markdown}


def run_sql(study_path: Path, statement: str, format: str = "table", output: Path | None = None) -> str | bytes:
    """Answer `statement` from the store of the study.

    Returns the text (bytes for parquet), or, where `output` names a file, one line that says what was written.
    Raises InputError for an unknown format, an unwritable output, and SQL that is wrong or that would write.
    """
    from data.store import Store

    if format not in get_args(Format):
        raise InputError(f"--format {format} is unknown: take one of {', '.join(get_args(Format))}.")
    table = Store(study_path).query(statement)
    content = parquet_bytes(table) if format == "parquet" else TEXT_WRITERS[format](grid_of(table))
    if output is None:
        return content
    try:
        write_aside(output, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise InputError(
            f"{output} cannot be written ({error.strerror}): name a file in a folder that exists."
        ) from error
    return f"{table.num_rows} row{'' if table.num_rows == 1 else 's'} written to {output}\n"


def grid_of(table: "pa.Table") -> Grid:
    """Return the Arrow table's names and Python values; repeated column names stay."""
    columns = [column.to_pylist() for column in table.columns]
    return Grid(tuple(table.column_names), list(zip(*columns, strict=True)))


def parquet_bytes(table: "pa.Table") -> bytes:
    """Return the Arrow table as one Parquet file; raises InputError when two columns share a name."""
    import pyarrow as pa
    from pyarrow import parquet

    repeated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if repeated:
        raise InputError(f"Parquet needs distinct column names: rename {', '.join(repeated)} with AS.")
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content

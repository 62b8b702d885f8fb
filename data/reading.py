"""One SELECT over the views, and nothing else: what SQL may do, and its errors in the user's words."""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from data.connection import BrokenStoreError, first_line, translated
from data.errors import InputError
from data.schema import VIEWS

Parameters = Sequence[object] | dict[str, object]


def require_reading(sql: str) -> None:
    """Raise InputError unless `sql` is one statement that only reads.

    The connection refuses writing as well; this gives the clearer sentence, and refuses what it would let pass.
    """
    try:
        parsed = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise InputError(f"SQL error: {first_line(error)}") from None
    if len(parsed) != 1:
        raise InputError(f"Give one SQL statement, not {len(parsed)}.")
    # A PIVOT parses as several statements; the read-only connection refuses those of them that write.
    reading = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI}
    if parsed[0].type not in reading:
        raise InputError(f"SQL here is read-only: a {parsed[0].type.name} statement is refused; write a SELECT.")


def answer(connection: duckdb.DuckDBPyConnection, sql: str, params: Parameters) -> pa.Table:
    """The answer to one SELECT on a read-only connection.

    Raises InputError for wrong SQL, BrokenStoreError for a damaged database, ScaleproofError when the machine fails.
    """
    try:
        return _whole_numbers(connection.sql(sql, params=params or None).to_arrow_table())
    except duckdb.Error as error:
        raise _refusal(error) from error


def _refusal(error: duckdb.Error) -> Exception:
    message = first_line(error)
    if isinstance(error, duckdb.PermissionException) or "read-only" in message:
        return InputError("SQL here is read-only and reaches the study's views alone, no files, extensions or network.")
    if isinstance(error, duckdb.CatalogException) and message.startswith("Catalog Error: Table with name"):
        name = message.split()[5]
        return InputError(f"There is no view {name}; the views are {', '.join(sorted(VIEWS))}.")
    failure = translated(error)
    if isinstance(error, duckdb.OperationalError) or isinstance(failure, BrokenStoreError):
        return failure
    return InputError(f"SQL error: {message}")


def _whole_numbers(answer: pa.Table) -> pa.Table:
    """Sums of integers come as 38-digit decimals, which JSON cannot hold; 64 bits hold every real one."""
    for index, field in enumerate(answer.schema):
        if pa.types.is_decimal(field.type) and field.type.scale == 0:
            try:
                answer = answer.set_column(index, field.name, answer.column(index).cast(pa.int64()))
            except pa.ArrowInvalid:
                continue
    return answer

"""The one reader of CSV files: it keeps the line of each row, which messages name."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tll_utils.errors import DataError, TllError

_ID = re.compile(r"[\w-][\w.-]*")


@dataclass(frozen=True)
class Table:
    """A CSV file of strings.

    Attributes:
        path: The file.
        header: Names of the columns.
        rows: One list of fields per row, as many as the header has.
        lines: Line in the file where each row ends; the header is line 1.
    """

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """The fields of one column."""
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def frame(self) -> pd.DataFrame:
        """The table for pandas, all columns str."""
        return pd.DataFrame(self.rows, columns=self.header, dtype=str)

    def require_ids(self) -> None:
        """Refuses fields that are not plain names: an id becomes part of a path."""
        for line, row in zip(self.lines, self.rows, strict=True):
            for name in row:
                require_id(name, f"{self.path}, row {line}")

    def refuse_repeats(self, column: str) -> None:
        """Refuses a column where a value appears twice."""
        seen: dict[str, int] = {}
        for line, name in zip(self.lines, self.column(column), strict=True):
            if name in seen:
                raise DataError(
                    f"{self.path}, row {line}: {column} {name!r} appears in row {seen[name]} "
                    "already; expected each image once. Remove one of the two rows."
                )
            seen[name] = line


def read_table(
    path: Path | str, columns: Sequence[str] | None = None, *, error: type[TllError] = DataError
) -> Table:
    """Reads a CSV file and checks its shape. Blank lines are skipped.

    The csv module rather than pandas: it keeps the line numbers, and does not take an image called
    `nan` for a missing one.

    Args:
        path: The CSV file, UTF-8, with or without a byte order mark.
        columns: The header that it must have. Defaults to candidate lists of any length:
            `left,c0,c1,…`, at least two candidates.
        error: What to raise. Defaults to `DataError`.

    Returns:
        The table; its fields are not looked at.

    Raises:
        error: If the file cannot be read, the header is another, or a row has too few or too many
            fields; the message names the file and the row.
    """
    path = Path(path)
    wanted = ",".join(columns) if columns else "left,c0,c1,… (at least two candidates)"
    numbered = _numbered_rows(path, wanted, error)
    header = numbered[0][1] if numbered else []
    if header != list(columns or candidate_columns(len(header) - 1)):
        raise error(
            f"{path}, row 1: expected the columns {wanted}. {_difference(columns, header)}"
            f"Received: {_cut(','.join(header), 500) or 'an empty file'}"
        )
    for line, row in numbered[1:]:
        if len(row) != len(header):
            cure = "Complete the row" if len(row) < len(header) else "Correct the header or the row"
            raise error(
                f"{path}, row {line} ({_cut(row[0])}): expected {len(header)} fields, {header[0]} "
                f"to {header[-1]}. {cure}, or remove it. Received: {len(row)} fields"
            )
    return Table(path, header, [row for _, row in numbered[1:]], [line for line, _ in numbered[1:]])


def candidate_columns(m: int) -> list[str]:
    """The header of candidate lists and of submissions: `left,c0,…`, at least two candidates."""
    return ["left"] + [f"c{place}" for place in range(max(m, 2))]


def counted(number: int, what: str) -> str:
    """`"1 row"`, `"2 rows"`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def require_id(name: str, where: str) -> None:
    """Refuses what is not the bare name of an image."""
    if not _ID.fullmatch(name):
        raise DataError(
            f"{where}: {_cut(name)!r} cannot be an image id; expected the bare name of a file "
            "without folder or extension (letters, digits, '_', '-', '.')."
        )


def _difference(columns: Sequence[str] | None, header: list[str]) -> str:
    """Which columns are missing, or else the first that is another, so that no `…` hides it."""
    expected = list(columns or candidate_columns(len(header) - 1))
    lacking = [name for name in expected if name not in header]
    if not header:
        return ""
    if len(header) == 1 and (found := re.search("[;\t]", header[0])):
        return f"Separate the fields by ',', not by {found[0]!r}. "
    if lacking:
        return f"Missing: {','.join(lacking)}. "
    place = next(i for i, name in enumerate(header) if expected[i : i + 1] != [name])
    at = f"{expected[place]} as" if place < len(expected) else "no"
    return f"Expected {at} column {place + 1}, which is {_cut(header[place])!r}. "


def _numbered_rows(path: Path, wanted: str, error: type[TllError]) -> list[tuple[int, list[str]]]:
    if not path.is_file():
        raise error(f"{path}: no such file; expected a CSV file with the columns {wanted}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            return [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise error(
            f"{path}: cannot be read; expected a CSV file in UTF-8. Received: {cause}"
        ) from None


def _cut(text: str, length: int = 100) -> str:
    return text if len(text) <= length else f"{text[:length]}…"

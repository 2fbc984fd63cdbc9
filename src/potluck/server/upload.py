"""A form with a file in it (multipart/form-data, RFC 7578), as clients upload files. Pure.

Rules: one file, a few short fields; what a client gets wrong is its own error and never ours. The body's size is the
door's business.
"""

from __future__ import annotations

from typing import Any

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from potluck.errors import Invalid

FIELDS = 16  # of a form; OpenAI's uploads have four
FIELD_BYTES = 1_000
NAME = 255  # characters of a file's name, as file systems have it


class Form(msgspec.Struct):
    """`content` None: no part with that name was a file."""

    fields: dict[str, str]
    filename: str = ""
    content: bytes | None = None


class _Reader:
    """Collects the parts of one form; the parser calls it with slices of the body."""

    def __init__(self) -> None:
        self.form = Form({})
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._field: bytes | None = None
        self._file = False
        self._parts: list[bytes] = []
        self._count = 0

    def callbacks(self) -> Any:
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data")
        return {f"on_{name}": getattr(self, name) for name in (*names, "part_end", "end")}

    def part_begin(self) -> None:
        self._headers, self._parts, self._field, self._file = {}, [], None, False
        self._count += 1
        if self._count > FIELDS:
            raise Invalid(f"The form has more than {FIELDS} parts. Send 'file' and 'purpose'.")

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name")
        self._file = b"filename" in options
        if self._file and self._field == b"file":
            name = options[b"filename"].decode("utf-8", "replace")
            # A name is shown, never used as a path; but no control character reaches a terminal.
            self.form.filename = "".join(c if c.isprintable() else "?" for c in name)[:NAME] or "upload"

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._parts.append(data[start:end])

    def part_end(self) -> None:
        content, self._parts = b"".join(self._parts), []
        if self._field is None:
            raise Invalid("A part of the form has no name (Content-Disposition: form-data; name=…).")
        if self._field == b"file":
            if self.form.content is not None:
                raise Invalid("The form has more than one 'file'. Upload them one by one.", param="file")
            self.form.content = content
        elif len(content) > FIELD_BYTES:
            raise Invalid(f"A field of the form is longer than {FIELD_BYTES} bytes.")
        else:
            name, text = self._field.decode("utf-8", "replace"), content.decode("utf-8", "replace")
            self.form.fields[name] = text

    def end(self) -> None:
        self.ended = True


def read(content_type: bytes, body: bytes) -> Form:
    """Raises Invalid."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Invalid(
            "An upload is a form: Content-Type: multipart/form-data; boundary=…, with the parts 'file' and 'purpose'."
        )
    reader = _Reader()
    try:
        parser = MultipartParser(options[b"boundary"], reader.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Invalid(f"The form cannot be read: {str(error)[:200]}.") from None
    if not reader.ended:
        raise Invalid("The form ends before its last boundary: it was cut, or is no multipart/form-data.")
    return reader.form

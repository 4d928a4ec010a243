# SPDX-License-Identifier: Apache-2.0
"""Documents from bytes, as kubectl reads them: encodings, JSON streams, the split at ``---``, YAML.

kubectl splits its input at lines that start with ``---`` before it parses anything, and parses each part
alone; unlike kubectl, a part that is broken does not end the reading of those after it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.kube.collection import uncollected
from podfence.kube.complaints import DocumentError
from podfence.kube.findings import Code, Finding, Position, Severity
from podfence.kube.positions import Source, SourceDocument
from podfence.kube.scalars import PlainScalars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podfence.kube.construct import Constructed

_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_SIGNATURES: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"(\xb5/\xfd", "zstd"),
)
_BINARY_SAMPLE: Final = 8192
_BINARY_SHARE: Final = 0.1
_BINARY_LEAST: Final = 4
_BINARY_BYTES: Final = bytes({*range(0x20), 0x7F} - {*b"\t\n\r\f\x1b"})

_BOM: Final = "\ufeff"
# What may follow a document without being lost: blanks, comments and end markers.
_UNREAD: Final = r"(?:[^\S\n]*(?:\.\.\.(?=\s))?[^\S\n]*(?:#[^\n]*)?\n)*+[^\S\n]*[^\s#]"
_STRAY_BOM: Final = "(?:\\A|[\n\r\x85\u2028\u2029])\ufeff"
_MARKER: Final = "---"
# kubectl looks at this many bytes behind a JSON object before it goes on with YAML.
_LOOK_AHEAD: Final = 4


class _Part(NamedTuple):
    """What stands between two ``---`` lines, or one such line that says more than that."""

    start: int
    end: int
    separator: str = ""


def parse(
    data: bytes, name: str, advance: Callable[[float], None] | None = None
) -> tuple[list[SourceDocument], list[Finding]]:
    """Return the documents of `data` and what is wrong with them; `name` is the input's name as shown.

    `advance` is told what part of the text is read (0 to 1), after each document. Documents that are
    empty or null are left out, as kubectl does. Never raises for bad input: what cannot be read is an
    error among the problems, and keys given twice are warnings.
    """
    start, encoding = next(((len(bom), encoding) for bom, encoding in _BOMS if data.startswith(bom)), (0, "utf-8"))
    if encoding == "utf-8":
        refusal = _binary(data)
        if refusal:
            problem = Finding(code=Code.SYNTAX, position=Position(name), message=refusal[0], remedy=refusal[1])
            return [], [problem]
    # kubectl replaces what is not UTF-8, but not behind a UTF-8 byte order mark.
    errors = "strict" if start and encoding == "utf-8" else "replace"
    try:
        text = data[start:].decode(encoding, errors)
    except UnicodeDecodeError as error:
        sound = data[start : start + error.start].decode(encoding)
        place = Source(name, sound).position(len(sound))
        message = "the text is not UTF-8, though its byte order mark says so"
        return [], [Finding(code=Code.SYNTAX, position=place, message=message, remedy="save it as UTF-8")]
    if "\r\r\n" in text:
        # kubectl makes one line break of each \r\n before it parses, which shows only here.
        text = text.replace("\r\n", "\n")
    reader = _Reader(Source(name, text), advance)
    with uncollected():
        reader.read()
    return reader.documents, reader.problems


def _binary(data: bytes) -> tuple[str, str] | None:
    """Return why data is no text, and what to do; None for text."""
    for signature, program in _SIGNATURES:
        if data.startswith(signature):
            return f"this is {program} data, not YAML or JSON", "unpack it first"
    sample = data[:_BINARY_SAMPLE]
    odd = len(sample) - len(sample.translate(None, _BINARY_BYTES))
    if odd > max(_BINARY_SHARE * len(sample), _BINARY_LEAST):
        return "this is binary data, not YAML or JSON", ""
    return None


class _Reader:
    """One input being read."""

    def __init__(self, source: Source, advance: Callable[[float], None] | None) -> None:
        self._advance = advance
        self.documents: list[SourceDocument] = []
        self.problems: list[Finding] = []
        self._source = source
        self._text = source.text
        self._plain = PlainScalars()

    def read(self) -> None:
        # Go's notion of white space is a little wider than JSON's; so is Python's, in the same way.
        if self._text[:4096].lstrip().startswith("{"):
            self._read_json()
        else:
            self._read_yaml(0)

    def _read_json(self) -> None:
        from podfence.kube.jsontext import Decoder, NumberError, skip_blanks  # noqa: PLC0415 - most inputs are YAML

        decoder = Decoder(self._text)
        count = 0
        end = 0
        while (start := skip_blanks(self._text, end)) < len(self._text):
            try:
                value, after, duplicates = decoder.decode(start)
            except DocumentError as error:
                self._not_json(error, end, count, is_json=isinstance(error, NumberError))
                return
            count += 1
            end = after
            if value is not None:
                document = SourceDocument(self._source, start, end, value, is_json=True)
                self._add(document, end, duplicates=duplicates)

    def _not_json(self, error: DocumentError, end: int, count: int, *, is_json: bool) -> None:
        """Go on with YAML where the JSON ends, if kubectl does: not after a second object."""
        rest = self._yaml_after_json(end) if count <= 1 and not is_json else None
        if rest is None:
            remedy = "" if is_json or not count else "after an object there may be another one"
            self._error(str(error), error.offset, remedy)
            return
        before = len(self.problems)
        readable = self._read_yaml(rest)
        if not readable and not count and self._text.lstrip().startswith('{"'):
            # Neither JSON nor YAML: what begins like JSON is meant as JSON.
            self.problems[before] = self._problem(str(error), error.offset)

    def _yaml_after_json(self, offset: int) -> int | None:
        while len(self._text[offset : offset + _LOOK_AHEAD].encode()) >= _LOOK_AHEAD:
            character = self._text[offset]
            if character == "\ufffd":
                return None
            if not character.isspace():
                return offset
            offset += 1
            if character == "\n":
                return offset
        return None

    def _read_yaml(self, start: int) -> bool:
        """Read the YAML documents from `start`; return whether the first of them is sound."""
        from podfence.kube.strictness import read  # noqa: PLC0415 - JSON needs no PyYAML

        before = len(self.problems)
        sound: bool | None = None
        for part in _split(self._text, start):
            if part.separator:
                self._error(
                    f"invalid document separator: only a comment may follow --- on its line, not {part.separator!r}",
                    part.start,
                    "start the document on the next line",
                )
            else:
                begin = part.start + self._text.startswith(_BOM, part.start)
                self._read_document(begin, part.end, read)
            if sound is None:
                sound = all(problem.severity is Severity.WARNING for problem in self.problems[before:])
        return sound is not False

    def _read_document(self, start: int, end: int, read: Callable[[str, PlainScalars], Constructed]) -> None:
        text = self._text[start:end]
        if not text.endswith("\n"):
            text += "\n"
        stray = re.search(_STRAY_BOM, text) if _BOM in text else None
        if stray:
            message = "a byte order mark (U+FEFF) stands inside a document"
            self._error(message, start + stray.end() - 1, "take it out")
            return
        try:
            constructed = read(text, self._plain)
        except DocumentError as error:
            message = str(error)
            if error.inside:
                message += f", in {error.inside} on line {self._source.line(start + error.began)}"
            self._error(message, start + error.offset, error.remedy)
            return
        self._warn_of_unread(text, constructed.end, start)
        if constructed.value is not None:
            document = SourceDocument(self._source, start, end, constructed.value)
            self._add(document, end, duplicates=constructed.duplicates)

    def _warn_of_unread(self, text: str, end: int, start: int) -> None:
        unread = re.compile(_UNREAD).match(text, end) if end < len(text) else None
        if unread:
            position = self._source.position(start + unread.end() - 1)
            message = "what follows the end of the document is not read"
            self._warn(Code.ODD, position, message, "begin another document with a line ---")

    def _add(self, document: SourceDocument, end: int, *, duplicates: bool) -> None:
        self.documents.append(document)
        if self._advance:
            self._advance(end / len(self._text))
        if not duplicates:
            return
        for key, places in document.duplicates():
            times = "twice" if len(places) == 2 else f"{len(places)} times"
            message = f'key "{key}" is given {times}; the last one, line {places[-1].line}, counts'
            self._warn(Code.DUPLICATE, places[0], message)

    def _warn(self, code: Code, position: Position, message: str, remedy: str = "") -> None:
        found = Finding(code=code, severity=Severity.WARNING, position=position, message=message, remedy=remedy)
        self.problems.append(found)

    def _error(self, message: str, offset: int, remedy: str = "") -> None:
        self.problems.append(self._problem(message, offset, remedy))

    def _problem(self, message: str, offset: int, remedy: str = "") -> Finding:
        position = self._source.position(min(offset, len(self._text)))
        return Finding(code=Code.SYNTAX, position=position, message=message, remedy=remedy)


def _split(text: str, start: int) -> Iterator[_Part]:
    """Yield the parts of a YAML stream as kubectl cuts it, empty ones left out.

    The first ``---`` of several in a row, or at the start, belongs to the part that follows it.
    """
    begin = place = start
    while True:
        marker = place if text.startswith(_MARKER, place) else text.find("\n" + _MARKER, place) + 1
        if marker < place or not text.startswith(_MARKER, marker):
            break
        line_end = text.find("\n", marker)
        place = len(text) if line_end < 0 else line_end + 1
        rest = text[marker + len(_MARKER) : place].strip()
        if marker > begin:
            yield _Part(begin, marker)
            begin = place
        if rest and not rest.startswith("#"):
            yield _Part(marker, place, rest)
            begin = place
    if begin < len(text):
        yield _Part(begin, len(text))

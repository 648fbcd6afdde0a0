"""`caffe2py db`: databases of records: made of photos, in another type, in parts, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, cast

import click

from caffe2py.adapters.whole import TYPES, Writer, records, whole_database
from caffe2py.cli import common
from caffe2py.cli.common import bytes_text, log, number, plain
from caffe2py.cli.contents import Contents, count_contents
from caffe2py.cli.photos import find_photos, photo_key, photo_record, shuffled
from caffe2py.errors import FileError, UsageError
from caffe2py.predictor.database import database_type

_SHOWN = 20  # lines of a table


@common.command("db", click.Group)
def db() -> None:
    """Make, convert, split and examine databases of records: minidb and lmdb."""


_out = click.option("-o", "--out", required=True, metavar="DB", help="The new database.")
_type = click.option(
    "--type", "type_", type=click.Choice(TYPES), help="Its type.  [by its name: .lmdb; or minidb]"
)


def _chosen(out: str, type_: str | None) -> str:
    return type_ or database_type(out) or "minidb"


def _found_type(path: str) -> str:
    """The type of a database that is there; a file without the mark of an lmdb is a minidb."""
    return database_type(path) or "minidb"


@common.command("make-images")
@click.argument("source", metavar="SOURCE")
@_out
@_type
@click.option("--root", metavar="FOLDER", help="Where names in a list begin.  [its own folder]")
@click.option("--shuffle", type=int, metavar="SEED", help="In an order that SEED determines.")
@click.option("--raw", is_flag=True, help="Pixels instead of files: quicker to read, larger.")
@click.option("--scale", type=click.IntRange(1, 65535), help="Resize the shorter side (--raw).")
@click.option("--warp", is_flag=True, help="Resize both sides alike (--scale).")
@click.option("--gray", is_flag=True, help="One channel (--raw).")
@click.option("--skip-damaged", is_flag=True, help="Leave out photos that cannot be decoded.")
@common.json_option
def make_images(
    source: str,
    out: str,
    type_: str | None,
    root: str | None,
    shuffle: int | None,
    scale: int | None,
    skip_damaged: bool,
    json_: bool,
    **how: bool,
) -> None:
    """Make a database of photos and labels, for the operator ImageInput.

    SOURCE is a folder with one folder of photos for each label, in the order of their names; or a
    list with lines such as `cats/tom.jpg 3`. Every photo is decoded once: one that cannot be stops
    it, and then nothing is written. Needs `pip install 'caffe2py[image]'`.
    """
    if not how["raw"] and (scale or how["warp"] or how["gray"]):
        raise UsageError("--scale, --warp and --gray are for pixels: they need --raw")
    if how["warp"] and not scale:
        raise UsageError("--warp needs --scale")
    found = find_photos(source, root)
    photos = found.photos if shuffle is None else shuffled(found.photos, shuffle)
    size = (scale, how["warp"]) if scale else None
    damaged = 0
    with whole_database(out, _chosen(out, type_)) as writer:
        for photo in photos:
            try:
                record = photo_record(photo, raw=how["raw"], gray=how["gray"], size=size)
            except FileError as error:
                if not skip_damaged:
                    raise
                log.warning("left out: %s", error)
                damaged += 1
                continue
            writer.put(photo_key(writer.count, photo), record)
        if not writer.count:
            raise UsageError(f"'{source}': none of {len(photos)} photos can be decoded")
    if found.ignored:
        log.warning("%d files that are no photos were ignored", found.ignored)
    labels = dict(enumerate(found.names))
    if json_:
        made = {"records": writer.count, "damaged": damaged, "ignored": found.ignored}
        common.print_json({"database": out, **made, "labels": labels})
        return
    for label, name in labels.items():
        click.echo(f"label {label}: {plain(name)}")
    click.echo(_summary(writer))


@common.command("convert")
@click.argument("source", metavar="DB")
@_out
@_type
def convert(source: str, out: str, type_: str | None) -> None:
    """Write the records of DB into a new database, maybe of another type.

    An lmdb keeps its records in the order of their keys, and has each key once.
    """
    chosen = _chosen(out, type_)
    with whole_database(out, chosen) as writer:
        for key, value in records(source, _found_type(source)):
            writer.put(key, value)
    _note_order(writer, chosen)
    click.echo(_summary(writer))


@common.command("split")
@click.argument("source", metavar="DB")
@click.option(
    "-o", "--out", "outs", required=True, multiple=True, metavar="DB", help="A part. Repeatable."
)
@_type
@click.option("--shares", metavar="A,B,...", help="How much goes to each.  [alike]")
def split(source: str, outs: Sequence[str], type_: str | None, shares: str | None) -> None:
    """Write each record of DB into one of several new databases.

    They take turns: with --shares 9,1 the second gets one record in ten, from all over DB.
    """
    weights = _shares(shares, len(outs))
    if len({*outs}) < len(outs):
        raise UsageError("two parts have one name")
    with ExitStack() as stack:
        writers = [stack.enter_context(whole_database(o, _chosen(o, type_))) for o in outs]
        for key, value in records(source, _found_type(source)):
            # whoever lags behind most; the first of several
            turn = min(range(len(outs)), key=lambda k: (writers[k].count + 0.5) / weights[k])
            writers[turn].put(key, value)
    for writer in writers:
        click.echo(_summary(writer))


def _shares(text: str | None, count: int) -> list[float]:
    if text is None:
        return [1.0] * count
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count or not all(0 < share < float("inf") for share in found):
        raise UsageError(f"--shares {text}: expected {count} numbers above 0, one for each part")
    return found


@common.command("stat")
@click.argument("source", metavar="DB")
@click.option("--decode", is_flag=True, help="Decode every photo, to find damaged ones.")
@common.json_option
def stat(source: str, decode: bool, json_: bool) -> int:
    """Count the records of DB: their sizes, keys, kinds, photos and labels.

    The exit status is 1 if there are photos that cannot be read.
    """
    type_ = _found_type(source)
    found = count_contents(records(source, type_), decode=decode)
    if json_:
        common.print_json(_as_json(source, type_, found))
    else:
        _echo(source, type_, found)
    return 1 if found.damaged else 0


def _as_json(source: str, type_: str, found: Contents) -> dict[str, Any]:
    return {
        "database": source,
        "type": type_,
        "records": found.records,
        "key_bytes": found.key_bytes,
        "value_bytes": found.value_bytes,
        "smallest": found.smallest,
        "largest": found.largest,
        "first": found.first,
        "last": found.last,
        "in_order": found.in_order,
        "kinds": dict(found.kinds),
        "images": dict(found.images),
        "labels": dict(sorted(found.labels.items())),
        "damaged": found.damaged,
    }


def _echo(source: str, type_: str, found: Contents) -> None:
    size = bytes_text(found.key_bytes + found.value_bytes)
    click.echo(f"{plain(source)}: {type_}, {number(found.records)} records, {size}")
    if found.records:
        low, high = bytes_text(found.smallest), bytes_text(found.largest)
        order = "in order" if found.in_order else "not in order"
        click.echo(f"values  {low} to {high}")
        click.echo(f"keys    '{_key(found.first)}' to '{_key(found.last)}', {order}")
    for title, counts in (("record", found.kinds), ("photo", found.images)):
        if counts:
            click.echo("")
            rows = [(plain(kind), number(count)) for kind, count in counts.most_common(_SHOWN)]
            click.echo(common.table((title, "count"), [*rows, *_rest(len(counts))], right=[1]))
    if found.labels:
        click.echo("")
        labels = sorted(found.labels.items())
        rows = [(str(label), number(count)) for label, count in labels[:_SHOWN]]
        click.echo(common.table(("label", "count"), [*rows, *_rest(len(labels))], right=[0, 1]))
    for line in found.damaged:
        log.warning("%s", plain(line))


def _rest(count: int) -> list[tuple[str, str]]:
    return [(f"{number(count - _SHOWN)} more", "")] if count > _SHOWN else []


def _key(key: bytes) -> str:
    return plain(key[:80])


def _summary(writer: Writer) -> str:
    return f"{plain(writer.path)}: {number(writer.count)} record" + "s" * (writer.count != 1)


def _note_order(writer: Writer, type_: str) -> None:
    if type_ == "lmdb" and not writer.sorted:
        log.warning("%s: the records are in the order of their keys now", plain(writer.path))


for _command in (make_images, convert, split, stat):
    cast(click.Group, db).add_command(_command)

COMMANDS = {"db": db}
